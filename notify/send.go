package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keyorch/keyorch/fault"
	"github.com/keyorch/keyorch/topology"
)

const (
	// answerTime is how long a receiver may take to answer.
	answerTime = 10 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 10
	// longestPause is the most that a receiver may ask for with Retry-After.
	longestPause = time.Hour
)

// Answer is what came back for one attempt.
type Answer struct {
	// Host is whom it went to: the rest of a URL may be a secret.
	Host   string
	Status int // of HTTP; zero when there was no answer
	Took   time.Duration
	// Said is the beginning of the answer, for a person who tests: it is never logged.
	Said string
	// Pause is how long the receiver asks to be left alone.
	Pause time.Duration
	// Gone says that the receiver wants nothing more, ever.
	Gone bool
	// Err is why it was not taken: Unavailable and Unknown may be tried again, Refused
	// is what this receiver will never take.
	Err error
}

// Send makes one attempt.
func Send(ctx context.Context, d Directory, h topology.Webhook, e Event, now time.Time) Answer {
	return post(ctx, d, h, now, func(s Secrets) (Message, error) { return Encode(h.Format, s, e, now) })
}

func post(ctx context.Context, d Directory, h topology.Webhook, now time.Time, encode func(Secrets) (Message, error)) Answer {
	s, err := d.Of(h)
	if err != nil {
		return Answer{Err: waiting(err)}
	}
	m, err := encode(s)
	if err != nil {
		return Answer{Err: fault.Wrap(fault.Refused, err, "write the event for webhook %s", h.Name)}
	}
	to, err := url.Parse(s.url)
	if err != nil {
		return Answer{Err: fault.New(fault.Unavailable, "the URL of webhook %s cannot be read", h.Name)}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(m.Body))
	if err != nil {
		return Answer{Host: to.Host, Err: fault.New(fault.Unavailable, "the URL of webhook %s cannot be used", h.Name)}
	}
	req.Header = m.Header
	began := time.Now()
	resp, err := client(s).Do(req)
	a := Answer{Host: to.Host, Took: time.Since(began)}
	if err != nil {
		a.Err = fault.New(fault.Unavailable, "%s: %s", to.Host, broke(err))
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status is the answer
	a.Took, a.Status, a.Said = time.Since(began), resp.StatusCode, shown(body, s, to)
	a.judge(resp.Header, now)
	return a
}

// client is for one attempt: events are rare, and a connection that stands for hours only
// hides that nobody is there any more. It follows no redirect.
func client(s Secrets) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer * 4,
			DialContext:     (&net.Dialer{Timeout: answerTime}).DialContext,
			TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
		},
	}
}

// judge says what a status means.
func (a *Answer) judge(header http.Header, now time.Time) {
	answers := fmt.Sprintf("%s answers %d %s", a.Host, a.Status, http.StatusText(a.Status))
	switch {
	case a.Status >= 200 && a.Status < 300:
	case a.Status >= 300 && a.Status < 400:
		a.Err = fault.New(fault.Unavailable, "%s: it leads elsewhere, and redirects are not followed: declare the address where the receiver is", answers)
	case a.Status == http.StatusGone:
		a.Gone, a.Err = true, fault.New(fault.Refused, "%s: it wants no more events", answers)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		a.Err = fault.New(fault.Unavailable, "%s: look at the URL and at the secret", answers)
	case a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooEarly, a.Status == http.StatusTooManyRequests, a.Status >= 500:
		a.Err = fault.New(fault.Unavailable, "%s", answers)
		a.Pause = pause(header.Get("Retry-After"), now)
	default:
		a.Err = fault.New(fault.Refused, "%s: it does not take this event", answers)
	}
}

// pause reads Retry-After: seconds or a date.
func pause(text string, now time.Time) time.Duration {
	d := time.Duration(0)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longestPause)
}

// waiting makes trouble with files something that is tried again: somebody mends them.
func waiting(err error) error {
	if fault.Of(err).Retryable() {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "")
}

// broke says why there was no answer. What net/http says may have the URL in it, or what
// the other side wrote.
func broke(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no answer within %v", answerTime)
	case errors.Is(err, context.Canceled):
		return "the attempt was given up: the worker stops"
	case errors.As(err, &dns):
		return "the name is not known"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.As(err, &unknown):
		return "its certificate is by an authority that is not known: name a file with it in caFile"
	case errors.As(err, &name):
		return "its certificate is for another name"
	case errors.As(err, &invalid):
		return "its certificate is not valid: expired, or not for this"
	}
	return "the connection broke"
}

// shown is the beginning of an answer, without what cannot be printed and without the
// secrets, which a receiver may send back.
func shown(body []byte, s Secrets, to *url.URL) string {
	const most = 300
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(body), "\uFFFD"))
	for _, secret := range []string{s.routingKey, s.bearer, s.url, to.RequestURI(), strings.Trim(to.Path, "/"), to.RawQuery} {
		const short = 4
		if len(secret) > short {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return cut(strings.TrimSpace(text), most)
}
