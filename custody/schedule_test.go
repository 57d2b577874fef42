package custody

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The bound of the issue, "no peak above 5 %", is read as: once the first life of the
// tokens is over, no second sees more than 5 % of the agents renew or log in, however
// they were started and whatever Vault did meanwhile.
const (
	agentsAtOnce = 1000
	peak         = agentsAtOnce * 5 / 100
)

// visitor is an agent in simulated time.
type visitor struct {
	at      time.Duration
	granted time.Duration // when its token was given out or renewed
	login   time.Duration
	lease   lease
	retry   *backoff.ExponentialBackOff
}

type visitors []*visitor

func (v visitors) Len() int           { return len(v) }
func (v visitors) Less(i, j int) bool { return v[i].at < v[j].at }
func (v visitors) Swap(i, j int)      { v[i], v[j] = v[j], v[i] }
func (v *visitors) Push(x any)        { *v = append(*v, x.(*visitor)) }
func (v *visitors) Pop() any {
	last := len(*v) - 1
	x := (*v)[last]
	*v = (*v)[:last]
	return x
}

// outage is when Vault does not answer.
type outage struct{ from, to time.Duration }

// visits has the agents start in the same second and gives how many requests Vault
// got in each second, with the functions that Keep uses.
func visits(span time.Duration, out outage, after func(ttl time.Duration, chance float64) time.Duration) []int {
	seconds := make([]int, int(span/time.Second)+1)
	due := &visitors{}
	for range agentsAtOnce {
		heap.Push(due, &visitor{at: time.Duration(rand.Int64N(int64(time.Second))), retry: newRetry()})
	}
	for {
		v := heap.Pop(due).(*visitor)
		if v.at >= span {
			return seconds
		}
		seconds[v.at/time.Second]++
		if v.at >= out.from && v.at < out.to {
			v.at += v.retry.NextBackOff()
			heap.Push(due, v)
			continue
		}
		alive := v.lease.ttl > 0 && v.at < v.granted+v.lease.ttl
		left := v.login + loginLife - v.at
		if alive && !v.lease.ending() && left > 0 {
			v.lease.ttl = min(tokenLife, left)
		} else {
			v.login, v.lease = v.at, lease{ttl: tokenLife, first: tokenLife, renewable: true}
		}
		v.granted = v.at
		v.retry.Reset()
		v.at += after(v.lease.ttl, rand.Float64())
		heap.Push(due, v)
	}
}

// most is the most requests in a stretch of so many seconds, from a second on.
func most(seconds []int, from, stretch int) int {
	sum, most := 0, 0
	for i := from; i < len(seconds); i++ {
		sum += seconds[i]
		if i-from >= stretch {
			sum -= seconds[i-stretch]
		}
		most = max(most, sum)
	}
	return most
}

func TestAThousandAgentsSpread(t *testing.T) {
	const span = 75 * time.Hour // three logins' lives
	for name, out := range map[string]outage{
		"Vault is there all the time":          {},
		"Vault is away for ten minutes":        {5 * time.Hour, 5*time.Hour + 10*time.Minute},
		"Vault is away until all tokens ended": {5 * time.Hour, 8 * time.Hour},
		"Vault is away when all logins end":    {24 * time.Hour, 24*time.Hour + 10*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			seconds := visits(span, out, renewAfter)
			first := int(tokenLife / time.Second)
			total := 0
			for _, n := range seconds[first:] {
				total += n
			}
			worst := most(seconds, first, 1)
			t.Logf("%.2f requests a second; at most %d in one, %d in ten, %d in a minute",
				float64(total)/float64(len(seconds)-first), worst, most(seconds, first, 10), most(seconds, first, 60))
			if worst > peak {
				t.Errorf("a second sees %d of %d agents, at most %d may come", worst, agentsAtOnce, peak)
			}
		})
	}
}

// TestWithoutChanceTheyComeTogether takes the random point away, and sees the peak.
func TestWithoutChanceTheyComeTogether(t *testing.T) {
	seconds := visits(10*time.Hour, outage{}, func(ttl time.Duration, _ float64) time.Duration { return renewAfter(ttl, 0) })
	if worst := most(seconds, int(tokenLife/time.Second), 1); worst <= peak {
		t.Errorf("all renew after half of their lives, and no second sees more than %d", worst)
	}
}
