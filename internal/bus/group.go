package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Start says where a group begins in a topic that it has never read.
type Start int

// The places to begin at.
const (
	Earliest Start = iota
	Latest
)

// GroupConfig describes a member of a consumer group.
type GroupConfig struct {
	Group  string
	Topics []string
	Start  Start
	// Instance names a static member: one that comes back under the same name
	// within SessionTimeout, after a crash say, gets its partitions back at once.
	// No two members that live at the same time may share a name. Empty for none.
	Instance string
	// SessionTimeout is after how long of silence a member counts as dead, and
	// Longest is how long a piece of work can take, which must be less.
	SessionTimeout time.Duration
	Longest        time.Duration
	// Window is how many records of a partition a member may have worked on since
	// its last commit: work keeps to it by waiting for commits. The next owner
	// learns it from the commit.
	Window int
	// WatchInterval is how often topics are asked for new partitions and new ids.
	WatchInterval time.Duration
	Log           *slog.Logger
}

// The reasons why a generation ended: the cause of its context.
var (
	ErrRebalance = errors.New("the group rebalances")
	ErrLost      = errors.New("the group has given up this member")
	ErrChanged   = errors.New("a topic was made, remade, deleted or got new partitions")

	errStopped = errors.New("told to stop")
)

// settleLimit is how long a group may take to get a coordinator, or its members
// together, before that is worth a warning.
const settleLimit = 10 * time.Second

// Consume is a member of a consumer group until ctx is done. In each generation
// of the group it calls work, once, with the partitions that are this member's;
// work returns when it has finished what was in hand after its context was
// cancelled, and then everything marked done is committed before the member
// gives the partitions up. Topics that do not exist are waited for.
//
// It makes its own way back from every failure, which it logs.
func (c *Client) Consume(ctx context.Context, cfg GroupConfig, work func(context.Context, *Generation)) {
	commitFailures.WithLabelValues(cfg.Group) // from 0, or the first one is no increase
	m := &member{client: c, cfg: cfg, seen: map[string][16]byte{}}
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	tried := time.Now()
	for ctx.Err() == nil {
		g, err := m.join(ctx)
		if err == nil {
			retry.Reset()
			m.run(ctx, g, work)
			tried = time.Now()
			continue
		}
		if ctx.Err() != nil {
			break
		}
		wait := retry.NextBackOff()
		if errors.Is(err, kafka.RebalanceInProgress) {
			wait = retry.InitialInterval
		}
		level := slog.LevelWarn
		if time.Since(tried) < settleLimit && (settling(err) || errors.Is(err, kafka.RebalanceInProgress)) {
			level = slog.LevelDebug
		}
		cfg.Log.Log(ctx, level, "can't join the consumer group, trying again", "error", err, "wait", wait)
		pause(ctx, wait)
	}
	m.leave(context.WithoutCancel(ctx))
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

type member struct {
	client *Client
	cfg    GroupConfig
	id     string
	// seen are the ids under which this process has known the topics.
	seen map[string][16]byte
}

// Generation is one settled state of a consumer group, with the partitions that
// are this member's.
type Generation struct {
	ID       int
	Assigned []*Assignment

	member *member
	// id is the member's in this generation.
	id    string
	infos map[string]Info
	end   context.CancelCauseFunc

	// heard is when the last heartbeat that was answered was sent.
	heard atomic.Pointer[time.Time]

	// coordinator is the id of the broker that leads the group, or -1.
	coordinator atomic.Int32

	mu     sync.Mutex
	dirty  map[*Assignment]int64
	wake   chan struct{} // there is something to commit
	urgent chan struct{} // somebody waits for it
}

// Assignment is a partition that is this member's for a generation.
type Assignment struct {
	Topic     string
	Info      Info
	Partition int
	// Offset is where to go on.
	Offset int64
	// Resumed says that the group has read the partition before: records from
	// Offset onwards may have been worked on by an owner that could not commit.
	Resumed bool
	// Window is how many records from Offset onwards that can be.
	Window int

	partitions int // see mark
	committed  atomic.Int64
	settled    chan struct{} // gets a token when committed has grown
}

const protocolName = "range"

// join becomes a member of the group's next generation.
func (m *member) join(ctx context.Context) (*Generation, error) {
	infos, err := m.awaitTopics(ctx)
	if err != nil {
		return nil, err
	}
	topics := slices.Sorted(maps.Keys(infos))
	// All members have to come back within the time that one may take to finish
	// its work.
	wait := m.cfg.SessionTimeout
	jctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	req := &kafka.JoinGroupRequest{
		GroupID: m.cfg.Group, MemberID: m.id, GroupInstanceID: m.cfg.Instance,
		SessionTimeout: m.cfg.SessionTimeout, RebalanceTimeout: wait,
		ProtocolType: "consumer",
		Protocols:    []kafka.GroupProtocol{{Name: protocolName, Metadata: kafka.GroupProtocolSubscription{Topics: topics}}},
	}
	resp, err := m.client.kafka.JoinGroup(jctx, req)
	if err == nil && errors.Is(resp.Error, kafka.MemberIDRequired) {
		m.id, req.MemberID = resp.MemberID, resp.MemberID
		resp, err = m.client.kafka.JoinGroup(jctx, req)
	}
	if err != nil {
		return nil, m.client.explain("join group "+m.cfg.Group, err)
	}
	if errors.Is(resp.Error, kafka.FencedInstanceID) {
		m.forget(resp.Error)
		return nil, fmt.Errorf("join group %s: another member goes by the same instance name, %q: %w", m.cfg.Group, m.cfg.Instance, resp.Error)
	}
	if resp.Error != nil {
		m.forget(resp.Error)
		return nil, fmt.Errorf("join group %s: %w", m.cfg.Group, resp.Error)
	}
	m.id = resp.MemberID
	sync := &kafka.SyncGroupRequest{
		GroupID: m.cfg.Group, GenerationID: resp.GenerationID, MemberID: m.id, GroupInstanceID: m.cfg.Instance,
		ProtocolType: "consumer", ProtocolName: resp.ProtocolName,
	}
	if resp.LeaderID == m.id {
		if sync.Assignments, err = m.assign(ctx, resp.Members); err != nil {
			return nil, err
		}
	}
	asked := time.Now()
	synced, err := m.client.kafka.SyncGroup(jctx, sync)
	if err != nil {
		return nil, m.client.explain("synchronise with group "+m.cfg.Group, err)
	}
	if synced.Error != nil {
		m.forget(synced.Error)
		return nil, fmt.Errorf("synchronise with group %s: %w", m.cfg.Group, synced.Error)
	}
	g := &Generation{ID: resp.GenerationID, member: m, id: m.id, infos: infos, dirty: map[*Assignment]int64{}, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
	g.coordinator.Store(-1)
	g.heard.Store(&asked)
	for topic, partitions := range synced.Assignment.AssignedPartitions {
		info, ok := infos[topic]
		if !ok {
			continue // seen by the leader only; the watch will find it too
		}
		for _, p := range partitions {
			g.Assigned = append(g.Assigned, &Assignment{Topic: topic, Info: info, Partition: p, settled: make(chan struct{}, 1)})
		}
	}
	return g, nil
}

// forget gives up the member's id where the group no longer knows it.
func (m *member) forget(err error) {
	if errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.FencedInstanceID) {
		m.id = ""
	}
}

// awaitTopics returns the topics that exist, once there is one.
func (m *member) awaitTopics(ctx context.Context) (map[string]Info, error) {
	for told := false; ; told = true {
		infos, err := m.client.existing(ctx, m.cfg.Topics)
		if err != nil {
			return nil, err
		}
		for _, t := range m.cfg.Topics {
			if _, ok := infos[t]; !ok {
				m.seen[t] = [16]byte{} // so what comes is read from its beginning
			}
		}
		if len(infos) > 0 {
			return infos, nil
		}
		if !told {
			m.cfg.Log.Warn("topic does not exist, waiting for it to be created", "topics", m.cfg.Topics)
		}
		pause(ctx, m.cfg.WatchInterval)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (c *Client) existing(ctx context.Context, topics []string) (map[string]Info, error) {
	infos := map[string]Info{}
	for _, t := range topics {
		info, err := c.TopicInfo(ctx, t)
		switch {
		case err == nil:
			infos[t] = info
		case !errors.Is(err, ErrNoTopic):
			return nil, err
		}
	}
	return infos, nil
}

// assign is the leader's part: to say who gets which partitions.
func (m *member) assign(ctx context.Context, joined []kafka.JoinGroupResponseMember) ([]kafka.SyncGroupRequestAssignment, error) {
	var members []kafka.GroupMember
	topics := map[string]bool{}
	for _, j := range joined {
		members = append(members, kafka.GroupMember{ID: j.ID, Topics: j.Metadata.Topics})
		for _, t := range j.Metadata.Topics {
			topics[t] = true
		}
	}
	infos, err := m.client.existing(ctx, slices.Collect(maps.Keys(topics)))
	if err != nil {
		return nil, err
	}
	var partitions []kafka.Partition
	for t, info := range infos {
		for p := range info.Partitions {
			partitions = append(partitions, kafka.Partition{Topic: t, ID: p})
		}
	}
	plan := kafka.RangeGroupBalancer{}.AssignGroups(members, partitions)
	var out []kafka.SyncGroupRequestAssignment
	for _, mem := range members { // everyone, or who gets nothing can't read its answer
		out = append(out, kafka.SyncGroupRequestAssignment{
			MemberID:   mem.ID,
			Assignment: kafka.GroupProtocolAssignment{AssignedPartitions: plan[mem.ID]},
		})
	}
	return out, nil
}

// run lives through a generation: heartbeats, the watch over the topics, and the
// commits go on beside work until it has returned.
func (m *member) run(ctx context.Context, g *Generation, work func(context.Context, *Generation)) {
	genCtx, end := context.WithCancelCause(ctx)
	defer end(nil)
	g.end = end
	// The company outlives the generation's context: who finishes its work must
	// stay a member, and its last marks are still to be committed.
	company, dismiss := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { m.beat(company, g) })
	wg.Go(func() { g.watch(genCtx) })
	if err := g.locate(genCtx); err != nil {
		if genCtx.Err() == nil {
			m.cfg.Log.Warn("can't find out where to go on, trying again", "error", err)
			pause(genCtx, time.Second)
		}
		end(err)
	} else {
		m.cfg.Log.Info("partitions assigned", "generation", g.ID, "partitions", g.names())
		var commits sync.WaitGroup
		worked := make(chan struct{})
		commits.Go(func() { g.commits(company, worked) })
		work(genCtx, g)
		end(errors.New("work has returned"))
		close(worked)
		commits.Wait()
		reason := context.Cause(genCtx)
		if errors.Is(reason, context.Canceled) {
			reason = errStopped
		}
		m.cfg.Log.Info("partitions given up", "generation", g.ID, "reason", reason)
	}
	dismiss()
	wg.Wait()
}

func (g *Generation) names() []string {
	var names []string
	for _, a := range g.Assigned {
		names = append(names, fmt.Sprintf("%s[%d]", a.Topic, a.Partition))
	}
	slices.Sort(names)
	return names
}

// beat sends heartbeats until ctx is done, and ends the generation when the
// coordinator asks for it or has not answered for a session.
func (m *member) beat(ctx context.Context, g *Generation) {
	interval := min(m.cfg.SessionTimeout/10, (m.cfg.SessionTimeout-m.cfg.Longest)/4, time.Second)
	for {
		pause(ctx, interval)
		if ctx.Err() != nil {
			return
		}
		sent := time.Now()
		err := m.heartbeat(ctx, g)
		switch {
		case err == nil:
			g.heard.Store(&sent)
		case errors.Is(err, kafka.RebalanceInProgress):
			g.heard.Store(&sent)
			g.end(ErrRebalance)
		case errors.Is(err, kafka.UnknownMemberId), errors.Is(err, kafka.IllegalGeneration), errors.Is(err, kafka.FencedInstanceID):
			g.end(fmt.Errorf("%w: %w", ErrLost, err))
			return
		case g.silence() > m.cfg.SessionTimeout:
			g.end(fmt.Errorf("%w: no answer to heartbeats: %w", ErrLost, err))
			return
		}
	}
}

// heartbeat is written out because kafka-go's reads the answer's fields in the
// wrong order, and asks any broker instead of the coordinator.
func (m *member) heartbeat(ctx context.Context, g *Generation) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.SessionTimeout/2)
	defer cancel()
	body := make(wbuf, 0, 64)
	g.identify(&body)
	body.noTags()
	r, err := g.askCoordinator(ctx, protocol.Heartbeat, 4, body)
	if err != nil {
		return err
	}
	r.int32() // throttle time
	code := r.int16()
	return g.coordinatorError(code, r.err)
}

// identify writes who the member is, as most requests to the coordinator have it.
func (g *Generation) identify(w *wbuf) {
	w.string(g.member.cfg.Group)
	w.int32(int32(g.ID))
	w.string(g.id)
	if g.member.cfg.Instance == "" {
		w.null()
	} else {
		w.string(g.member.cfg.Instance)
	}
}

// askCoordinator sends a request to the group's coordinator, which is looked up
// once and again after an error.
func (g *Generation) askCoordinator(ctx context.Context, key protocol.ApiKey, version int16, body []byte) (rbuf, error) {
	c := g.member.client
	id := g.coordinator.Load()
	if id < 0 {
		found, err := c.kafka.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: g.member.cfg.Group, KeyType: kafka.CoordinatorKeyTypeConsumer})
		if err == nil {
			err = found.Error
		}
		if err != nil {
			return rbuf{}, c.explain("find the coordinator of group "+g.member.cfg.Group, err)
		}
		id = int32(found.Coordinator.NodeID)
		g.coordinator.Store(id)
	}
	r, err := c.do(ctx, &exchange{key: key, version: version, broker: id, body: body})
	if err != nil {
		g.coordinator.Store(-1)
		return rbuf{}, c.explain("ask the coordinator of group "+g.member.cfg.Group, err)
	}
	return r, nil
}

func (g *Generation) coordinatorError(code int16, malformed error) error {
	if malformed != nil || code == 0 {
		return malformed
	}
	if kafka.Error(code) == kafka.NotCoordinatorForGroup {
		g.coordinator.Store(-1)
	}
	return kafka.Error(code)
}

// watch ends the generation when the topics are not what they were.
func (g *Generation) watch(ctx context.Context) {
	m := g.member
	for {
		pause(ctx, m.cfg.WatchInterval)
		if ctx.Err() != nil {
			return
		}
		infos, err := m.client.existing(ctx, m.cfg.Topics)
		if err != nil {
			continue // heartbeats tell when Kafka is gone
		}
		if !maps.EqualFunc(infos, g.infos, sameTopic) {
			g.end(ErrChanged)
			return
		}
	}
}

func sameTopic(a, b Info) bool { return a.ID == b.ID && a.Partitions == b.Partitions }

// locate finds out where each assigned partition goes on. Where the group has no
// commit it makes one before anything is delivered: so a commit that is missing
// later means that nothing was, and "latest" is fixed once.
func (g *Generation) locate(ctx context.Context) error {
	m := g.member
	for topic, info := range g.infos {
		marks, stale, err := m.client.committed(ctx, m.cfg.Group, topic, info)
		if err != nil {
			return err
		}
		// A group that has read the topic takes everything that was added since:
		// new partitions, and all of a topic that was made anew.
		initial := info.Partitions
		for _, mk := range marks {
			if mk.partitions > 0 {
				initial = min(initial, mk.partitions)
			}
		}
		before, known := m.seen[topic]
		remade := stale || known && before != info.ID
		m.seen[topic] = info.ID
		var first, last []int
		for _, a := range g.Assigned {
			if a.Topic != topic {
				continue
			}
			mk, ok := marks[a.Partition]
			a.Offset, a.Resumed, a.Window, a.partitions = mk.offset, ok, cmp.Or(mk.window, m.cfg.Window), initial
			a.committed.Store(mk.offset)
			switch {
			case ok:
			case m.cfg.Start == Latest && a.Partition < initial && !remade:
				last = append(last, a.Partition)
			default:
				first = append(first, a.Partition)
			}
		}
		starts, err := m.client.listOffsets(ctx, topic, first, kafka.FirstOffset)
		if err != nil {
			return err
		}
		ends, err := m.client.listOffsets(ctx, topic, last, kafka.LastOffset)
		if err != nil {
			return err
		}
		for _, a := range g.Assigned {
			if a.Topic != topic || a.Resumed {
				continue
			}
			var ok bool
			if a.Offset, ok = ends[a.Partition]; !ok {
				a.Offset = starts[a.Partition]
			}
			g.Done(a, a.Offset)
		}
	}
	return g.flush(ctx)
}

// Done says that everything of the assigned partition below the offset is done.
// It is committed soon; commits of all partitions go together.
func (g *Generation) Done(a *Assignment, next int64) {
	g.mu.Lock()
	g.dirty[a] = next
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// silence is for how long Kafka may not have heard of this member. Both clocks
// are asked: one does not count the time that a machine sleeps, the other can be set.
func (g *Generation) silence() time.Duration {
	heard, now := *g.heard.Load(), time.Now()
	return max(now.Sub(heard), now.Round(0).Sub(heard.Round(0)))
}

// AwaitOwnership returns when it is sure that the partitions stay this member's
// for the longest time that a piece of work can take, or the error of ctx. It
// keeps a process that was frozen, or is cut off from Kafka, from going on with
// what others have taken over. Call it before each piece of work; it costs next
// to nothing.
func (g *Generation) AwaitOwnership(ctx context.Context) error {
	cfg := &g.member.cfg
	for g.silence() > cfg.SessionTimeout-cfg.Longest {
		pause(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// AwaitCommit waits until everything of the assigned partition below the offset is
// committed, or returns the error of ctx. It has been marked with Done.
func (g *Generation) AwaitCommit(ctx context.Context, a *Assignment, next int64) error {
	for a.committed.Load() < next {
		select {
		case g.urgent <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.settled:
		}
	}
	return nil
}

// End gives the generation up, for a reason that is logged. The member joins again.
func (g *Generation) End(cause error) { g.end(cause) }

// commitSpacing keeps commits from being most of what Kafka has to do.
const commitSpacing = 20 * time.Millisecond

// commits commits what is done until worked is closed and nothing is left.
func (g *Generation) commits(ctx context.Context, worked <-chan struct{}) {
	log := g.member.cfg.Log
	for {
		last := false
		select {
		case <-g.wake:
		case <-worked:
			last = true
		}
		if err := g.commitUntilDone(ctx, worked); err != nil {
			log.Warn("offsets not committed: their records will be delivered again", "error", err)
			g.end(err)
		}
		if last {
			return
		}
		select {
		case <-time.After(commitSpacing):
		case <-g.urgent:
		case <-worked:
		}
	}
}

// commitUntilDone commits, and tries again what failed in passing. Once work has
// ended it does not try for longer than the member may keep the others waiting.
func (g *Generation) commitUntilDone(ctx context.Context, worked <-chan struct{}) error {
	const patience = 5 * time.Second
	var since time.Time
	for {
		err := g.flush(ctx)
		if err != nil {
			commitFailures.WithLabelValues(g.member.cfg.Group).Inc()
		}
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-worked:
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) > patience {
				return err
			}
		default:
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return err
		}
	}
}

// transient says whether a commit that failed may be tried again as it stands.
func transient(err error) bool {
	var code kafka.Error
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrNoTopic) {
		return false
	}
	if !errors.As(err, &code) {
		return true // the way to Kafka, not its answer
	}
	switch code {
	case kafka.RequestTimedOut, kafka.LeaderNotAvailable, kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend, kafka.BrokerNotAvailable:
		return true
	}
	return settling(code)
}

// flush commits what is done. The topics' ids are checked first: a commit onto a
// topic that was remade would pass over its records.
func (g *Generation) flush(ctx context.Context) error {
	g.mu.Lock()
	todo := g.dirty
	g.dirty = make(map[*Assignment]int64, len(todo))
	g.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	defer func() { // what could not be committed stays to be
		g.mu.Lock()
		defer g.mu.Unlock()
		for a, next := range todo {
			if _, newer := g.dirty[a]; !newer {
				g.dirty[a] = next
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m := g.member
	present, err := m.client.existing(ctx, slices.Collect(maps.Keys(g.infos)))
	if err != nil {
		return err
	}
	var changed error
	byTopic := map[string][]*Assignment{}
	for a := range todo {
		if present[a.Topic].ID != a.Info.ID {
			changed = fmt.Errorf("topic %s: %w", a.Topic, ErrChanged)
			delete(todo, a)
			continue
		}
		byTopic[a.Topic] = append(byTopic[a.Topic], a)
	}
	if len(todo) == 0 {
		return changed
	}
	body := make(wbuf, 0, 64+128*len(todo))
	g.identify(&body)
	body.length(len(byTopic))
	for topic, as := range byTopic {
		body.string(topic)
		body.length(len(as))
		for _, a := range as {
			body.int32(int32(a.Partition))
			body.int64(todo[a])
			body.int32(-1) // leader epoch
			body.string(mark{partitions: a.partitions, window: m.cfg.Window}.metadata(a.Info.ID))
			body.noTags()
		}
		body.noTags()
	}
	body.noTags()
	r, err := g.askCoordinator(ctx, protocol.OffsetCommit, 8, body)
	if err != nil {
		return err
	}
	r.int32() // throttle time
	var failed error
	r.each(func() {
		topic := r.string()
		r.each(func() {
			partition, code := r.int32(), r.int16()
			r.tags()
			if err := g.coordinatorError(code, nil); err != nil {
				failed = fmt.Errorf("commit offset of group %s in %s[%d]: %w", m.cfg.Group, topic, partition, err)
			}
		})
		r.tags()
	})
	if r.err != nil {
		return r.err
	}
	if failed != nil {
		return failed
	}
	for a, next := range todo {
		a.committed.Store(next)
		select {
		case a.settled <- struct{}{}:
		default:
		}
	}
	clear(todo)
	return changed
}

// leave gives the partitions up so that others need not wait for the session's end.
func (m *member) leave(ctx context.Context) {
	if m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := m.client.kafka.LeaveGroup(ctx, &kafka.LeaveGroupRequest{
		GroupID: m.cfg.Group, Members: []kafka.LeaveGroupRequestMember{{ID: m.id, GroupInstanceID: m.cfg.Instance}},
	})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		m.cfg.Log.Warn("could not leave the consumer group, others wait for the session's end", "error", err)
	}
}
