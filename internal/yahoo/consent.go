package yahoo

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

const (
	// maxPage is how much of a page is read: consent pages are far smaller, and of
	// others nothing is wanted.
	maxPage = 1 << 20
	// maxFields and maxField bound the form of a consent page.
	maxFields = 64
	maxField  = 8 << 10
)

// Consent is the form in which Yahoo asks visitors from the EU for consent.
type Consent struct {
	// Action is where the form is sent to, by POST.
	Action *url.URL
	// Fields are the hidden ones, with agree for the button.
	Fields url.Values
}

// DecodeConsent finds the form in a page of the address at. It is one that has
// the hidden fields csrfToken and sessionId, which may also stand in the page's
// or the action's query; ok is false where there is none.
func DecodeConsent(body []byte, at *url.URL) (c Consent, ok bool) {
	z := html.NewTokenizer(bytes.NewReader(body[:min(len(body), maxPage)]))
	z.SetMaxBuf(maxPage)
	form := newConsent(at)
	for {
		switch z.Next() {
		case html.ErrorToken:
			return form.complete(at)
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			switch tag.Data {
			case "form":
				form = newConsent(at)
				if action := attribute(tag, "action"); action != "" {
					u, err := at.Parse(action)
					if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
						return Consent{}, false
					}
					form.Action = u
				}
			case "input", "button":
				form.add(attribute(tag, "type"), attribute(tag, "name"), attribute(tag, "value"))
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == "form" {
				if c, ok := form.complete(at); ok {
					return c, true
				}
				form = newConsent(at)
			}
		}
	}
}

func newConsent(at *url.URL) Consent { return Consent{Action: at, Fields: url.Values{}} }

func attribute(tag html.Token, name string) string {
	for _, a := range tag.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (c *Consent) add(kind, name, value string) {
	if name == "" || len(name)+len(value) > maxField || len(c.Fields) >= maxFields {
		return
	}
	if strings.EqualFold(kind, "hidden") || name == "agree" {
		c.Fields.Set(name, value)
	}
}

// complete adds what Yahoo's page sends and some of its forms leave out.
func (c *Consent) complete(at *url.URL) (Consent, bool) {
	for _, where := range []*url.URL{c.Action, at} {
		if c.Fields.Get("sessionId") == "" && where.Query().Get("sessionId") != "" {
			c.Fields.Set("sessionId", where.Query().Get("sessionId"))
		}
	}
	if c.Fields.Get("csrfToken") == "" || c.Fields.Get("sessionId") == "" {
		return Consent{}, false
	}
	for name, value := range map[string]string{"namespace": "yahoo", "agree": "agree"} {
		if c.Fields.Get(name) == "" {
			c.Fields.Set(name, value)
		}
	}
	return *c, true
}
