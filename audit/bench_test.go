package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/keyorch/keyorch/audit"
	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/link"
)

// phase is a record like most of a trail's.
func phase(i int) audit.Record {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second)
	id := keychain.LinkID(fmt.Sprintf("site-%03d-site-%03d", i%100, i%97))
	ref := keychain.Ref{Epoch: keychain.Epoch(i % 1000), KCV: "a1b2c3d4e5"}
	r := audit.OfEntry(link.Entry{
		Link: id, Turn: keychain.Turn(i), Phase: link.Switching, From: ref, To: ref, At: at, Campaign: "nightly-20261128-120000",
		Confirmed: []link.Confirmation{{Node: "site-001-a", Turn: keychain.Turn(i - 1), Key: ref, At: at}},
	}, nil)
	r.By, r.Revision = "keyorch-worker.main", int64(i)
	return r
}

// long is an export of n records with a checkpoint for every thousand, made while it is
// read.
func long(t testing.TB, n int) (io.Reader, audit.Keys, *int64) {
	s := newSigner(t)
	r, w := io.Pipe()
	written := new(int64)
	go func() { _ = w.CloseWithError(writeLong(&counted{w, written}, s, n)) }()
	return r, s.keys(), written
}

type counted struct {
	io.Writer
	n *int64
}

func (c *counted) Write(p []byte) (int, error) { *c.n += int64(len(p)); return c.Writer.Write(p) }

func writeLong(w io.Writer, s *signer, n int) error {
	segment := audit.Segment{Number: 1, ID: "bench", First: 1, At: time.Now().UTC()}
	var c audit.Checkpoint
	hash := segment.Start()
	const block = 1000
	pem, err := s.keys().PEM()
	if err != nil {
		return err
	}
	numbers := uint64((n + block - 1) / block)
	head, _ := json.Marshal(map[string]any{"x": string(pem)})
	head = bytes.TrimSuffix(bytes.TrimPrefix(head, []byte(`{"x":`)), []byte("}"))
	seg, _ := json.Marshal(segment)
	if _, err := fmt.Fprintf(w, `{"keyorchAudit":{"format":1,"at":"2026-11-28T12:00:00Z","before":0,"hash":"%s","last":%d,"checkpoint":%d,"keys":%s}}`+"\n"+`{"segment":%s}`+"\n",
		hash, n, numbers, head, seg); err != nil {
		return err
	}
	var buf bytes.Buffer
	for i := 1; i <= n; i++ {
		body, _ := json.Marshal(phase(i))
		hash = hash.Next(uint64(i), audit.Sum(body))
		fmt.Fprintf(&buf, `{"seq":%d,"hash":"%s","body":%s}`+"\n", i, hash, body)
		if i%block == 0 || i == n {
			c = audit.Checkpoint{Number: c.Number + 1, Segment: segment.ID, Seq: uint64(i), Hash: hash, At: time.Now().UTC(), Key: s.Name()}
			signed, _ := s.Sign(context.Background(), c.Statement())
			c.Version, c.Signature = 1, signed.Value
			line, _ := json.Marshal(map[string]any{"checkpoint": c})
			buf.Write(append(line, '\n'))
			if _, err := w.Write(buf.Bytes()); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	return nil
}

// BenchmarkVerify verifies a million records for each round, out of a buffer.
func BenchmarkVerify(b *testing.B) {
	const n = 1_000_000
	var data bytes.Buffer
	s := newSigner(b)
	must(b, writeLong(&data, s, n))
	b.SetBytes(int64(data.Len()))
	began := cpu(b)
	for b.Loop() {
		proof, err := audit.Verify(bytes.NewReader(data.Bytes()), audit.Question{Keys: s.keys()})
		must(b, err)
		if proof.Records != n {
			b.Fatal(proof.Records)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/1M-records")
	b.ReportMetric((cpu(b)-began).Seconds()/float64(b.N), "cpu-s/1M-records")
	b.ReportMetric(float64(data.Len())/n, "bytes/record")
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Verify needs the same memory for a long export as for a short one.
func TestVerifyNeedsNoMoreMemoryForMore(t *testing.T) {
	peak := func(n int) uint64 {
		r, keys, written := long(t, n)
		var most uint64
		_, err := audit.Verify(r, audit.Question{Keys: keys, See: func(seq uint64, _ []byte) error {
			if seq%5000 == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			return nil
		}})
		must(t, err)
		t.Logf("%d records, %d bytes: at most %d KiB in use", n, *written, most>>10)
		return most
	}
	short, more := peak(5_000), peak(100_000)
	if more > short+4<<20 {
		t.Errorf("%d bytes are in use for 100,000 records, and %d for 5,000", more, short)
	}
}

// BenchmarkScribe makes blocks of records as the scribe does: what it costs the worker.
func BenchmarkScribe(b *testing.B) {
	var values [][]byte
	for g := range 40 {
		var group []audit.Record
		for i := range 25 {
			r := phase(1000*g + 13*i)
			r.Entered.To.KCV = keychain.KCV(fmt.Sprintf("%010x", r.At.UnixNano()*7919%(1<<40)))
			group = append(group, r)
		}
		value, err := json.Marshal(group)
		must(b, err)
		values = append(values, value)
	}
	size, records, began := 0, 0, cpu(b)
	for b.Loop() {
		block := audit.Block{First: 1}
		for _, value := range values {
			block.Bodies = append(block.Bodies, audit.Bodies(audit.Waiting{Value: value, Writer: "keyorch-worker"})...)
		}
		for i, body := range block.Bodies {
			block.After = block.After.Next(uint64(i), audit.Sum(body))
		}
		doc, err := block.Encode()
		must(b, err)
		size, records = size+len(doc), records+len(block.Bodies)
	}
	b.ReportMetric(float64(size)/float64(records), "bytes/record")
	b.ReportMetric((cpu(b)-began).Seconds()*1e6/float64(records), "cpu-us/record")
}
