package exec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/keyorch/keyorch/keychain"
	"github.com/keyorch/keyorch/secret"
)

// contract is the version of what goes over standard input and output.
const contract = 1

// keySize is the length of a link key in bytes.
const keySize = 32

// request is what the program reads, in this order and on one line, so that a
// shell script can take it apart. The key is not in it: encode puts it in before
// params, which come last, since they alone may hold anything.
type request struct {
	Contract int             `json:"contract"`
	Op       string          `json:"op"`
	Role     string          `json:"role"`
	Link     keychain.LinkID `json:"link"`
	Node     keychain.NodeID `json:"node"`
	Turn     keychain.Turn   `json:"turn,omitzero"`
	Epoch    keychain.Epoch  `json:"epoch,omitzero"`
	KCV      keychain.KCV    `json:"kcv,omitempty"`
	// Later stands for what later versions of the contract may add: a Checkup alone
	// sets it.
	Later string `json:"later,omitempty"`

	Params json.RawMessage `json:"-"`
}

// encode writes r and the key into one buffer, which the caller clears. It is
// put together by hand, since an encoder keeps copies of what went through it.
func encode(r request, key secret.Key) ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	params := r.Params
	if params == nil {
		params = json.RawMessage("{}")
	}
	b := make([]byte, 0, len(head)+len(params)+base64.StdEncoding.EncodedLen(key.Len())+64)
	b = append(b, bytes.TrimSuffix(head, []byte("}"))...)
	if key.Len() > 0 {
		b = append(b, `,"key":"`...)
		err = key.Use(func(k []byte) error {
			b = base64.StdEncoding.AppendEncode(b, k)
			return nil
		})
		b = append(b, '"')
	}
	b = append(b, `,"params":`...)
	b = append(b, params...)
	return append(b, "}\n"...), err
}

// report is the gear as the program shows it.
type report struct {
	accepts []keychain.Ref
	sends   keychain.Ref
	packets map[keychain.Epoch]uint64
}

func (r report) accepted(e keychain.Epoch) keychain.Ref {
	i := slices.IndexFunc(r.accepts, func(a keychain.Ref) bool { return a.Epoch == e })
	if i < 0 {
		return keychain.Ref{}
	}
	return r.accepts[i]
}

// decode reads what the program printed: exactly one JSON object. Fields that
// the contract does not know are left alone, so that it can grow. Of accepts and
// sends only that of the role is looked at. Errors quote nothing of what was
// printed, which may be a key.
func decode(out []byte, role string) (report, error) {
	var p struct {
		Accepts  json.RawMessage `json:"accepts"`
		Sends    json.RawMessage `json:"sends"`
		Counters json.RawMessage `json:"counters"`
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return report{}, errors.New("it printed nothing")
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	if bytes.TrimSpace(out)[0] != '{' || dec.Decode(&p) != nil {
		return report{}, errors.New("what it printed is not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return report{}, errors.New("it printed something after the JSON object")
	}
	var r report
	var err error
	if role == roleDownstream {
		r.accepts, err = decodeAccepts(p.Accepts)
	} else {
		r.sends, err = decodeSends(p.Sends)
	}
	if err != nil {
		return report{}, err
	}
	r.packets, err = decodeCounters(p.Counters)
	return r, err
}

type printedRef struct {
	Epoch keychain.Epoch `json:"epoch"`
	KCV   string         `json:"kcv"`
}

func decodeAccepts(b json.RawMessage) ([]keychain.Ref, error) {
	var list []printedRef
	if err := unmarshal(b, &list); err != nil {
		return nil, errors.New(`"accepts" is not a list of {"epoch":…,"kcv":"…"}`)
	}
	var refs []keychain.Ref
	for i, p := range list {
		kcv, err := keychain.ParseKCV(p.KCV)
		switch {
		case p.Epoch == 0:
			return nil, fmt.Errorf(`"accepts"[%d] has no epoch above zero`, i)
		case err != nil:
			return nil, fmt.Errorf(`"accepts"[%d].kcv: %w`, i, err)
		}
		refs = append(refs, keychain.Ref{Epoch: p.Epoch, KCV: kcv})
	}
	slices.SortFunc(refs, func(a, b keychain.Ref) int { return int(int64(a.Epoch) - int64(b.Epoch)) })
	for i := 1; i < len(refs); i++ {
		if refs[i].Epoch == refs[i-1].Epoch {
			return nil, fmt.Errorf(`"accepts" shows epoch %d twice`, refs[i].Epoch)
		}
	}
	return refs, nil
}

func decodeSends(b json.RawMessage) (keychain.Ref, error) {
	var p printedRef
	if err := unmarshal(b, &p); err != nil {
		return keychain.Ref{}, errors.New(`"sends" is not {"epoch":…,"kcv":"…"}`)
	}
	if p.Epoch == 0 {
		return keychain.Ref{}, nil
	}
	kcv, err := keychain.ParseKCV(p.KCV)
	if err != nil {
		return keychain.Ref{}, fmt.Errorf(`"sends".kcv: %w`, err)
	}
	return keychain.Ref{Epoch: p.Epoch, KCV: kcv}, nil
}

func decodeCounters(b json.RawMessage) (map[keychain.Epoch]uint64, error) {
	var printed map[string]struct {
		Packets uint64 `json:"packets"`
	}
	wrong := errors.New(`"counters" is not {"<epoch>":{"packets":…}}`)
	if err := unmarshal(b, &printed); err != nil {
		return nil, wrong
	}
	if printed == nil {
		return nil, nil
	}
	packets := map[keychain.Epoch]uint64{}
	for epoch, c := range printed {
		e, err := strconv.ParseUint(epoch, 10, 64)
		if err != nil || e == 0 {
			return nil, wrong
		}
		packets[keychain.Epoch(e)] = c.Packets
	}
	return packets, nil
}

// unmarshal reads a field that may be absent or null.
func unmarshal(b json.RawMessage, into any) error {
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, into)
}
