package yahootest

import "math"

// Everything that is random in the market is a hash of the seed, the symbol and
// a place in time. So any moment can be computed without those before it, and
// again after the fact.

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hash(seed uint64, parts ...uint64) uint64 {
	for _, p := range parts {
		seed = mix(seed ^ mix(p))
	}
	return seed
}

func hashText(seed uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		seed = mix(seed ^ uint64(s[i]))
	}
	return mix(seed)
}

// uniform maps a hash to [0, 1).
func uniform(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// normal maps a hash to a number with mean 0 and variance 1, normal enough: the
// sum of four uniform ones.
func normal(h uint64) float64 {
	sum := float64(h&0xffff) + float64(h>>16&0xffff) + float64(h>>32&0xffff) + float64(h>>48)
	return (sum/0xffff - 2) * math.Sqrt(3)
}

// wave is a continuous random function of time with mean 0 and variance about
// 2/3: straight lines between random heights, period apart.
type wave struct {
	seed   uint64
	period int64 // ms
	shift  int64 // so that waves do not bend together
}

func newWave(seed uint64, period int64) wave {
	return wave{seed, period, int64(mix(seed) % uint64(period))}
}

func (w *wave) at(t int64) float64 {
	t += w.shift
	i := floorDiv(t, w.period)
	f := float64(t-i*w.period) / float64(w.period)
	a, b := normal(mix(w.seed^mix(uint64(i)))), normal(mix(w.seed^mix(uint64(i+1))))
	return a + (b-a)*f
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

const (
	shortest = 2_000 // ms, the period of a walk's fastest wave
	octaves  = 20    // so the slowest has about 12 days
	session  = 23_400_000
)

// walk is a random walk that can be entered anywhere: waves of doubling periods,
// whose squared heights double too, add up to increments that grow with the
// square root of time, as those of prices do. It is about normal with standard
// deviation 1 over a session of 6.5 hours, calmer and wilder by the hour, and
// stays within a few times its spread over months, which keeps prices plausible.
type walk struct {
	waves   [octaves]wave
	heights [octaves]float64
	temper  wave
}

func newWalk(seed uint64) *walk {
	const c = 1 / (4.7 * session) // makes the increments' variance 1 a session
	w := &walk{temper: newWave(hash(seed, 1), 2_700_000)}
	period := int64(shortest)
	for o := range octaves {
		w.waves[o] = newWave(hash(seed, 2, uint64(o)), period)
		w.heights[o] = math.Sqrt(c * float64(period))
		period *= 2
	}
	return w
}

func (w *walk) at(t int64) float64 {
	const fast = 9 // waves of less than about 10 minutes
	quick, slow := 0.0, 0.0
	for o := range w.waves {
		v := w.heights[o] * w.waves[o].at(t)
		if o < fast {
			quick += v
		} else {
			slow += v
		}
	}
	return slow + quick*math.Exp(0.35*w.temper.at(t))
}
