package workflows_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"

	"github.com/keyorch/keyorch/campaign"
	"github.com/keyorch/keyorch/link"
	"github.com/keyorch/keyorch/workflows"
)

// payloads is everything that travels through Temporal.
func payloads() []reflect.Type {
	types := []reflect.Type{
		reflect.TypeFor[workflows.AbortRequest](), reflect.TypeFor[workflows.AbortAnswer](),
		reflect.TypeFor[workflows.Batch](), reflect.TypeFor[workflows.Outcome](),
		reflect.TypeFor[workflows.CampaignRequest](), reflect.TypeFor[campaign.Record](), reflect.TypeFor[workflows.Ask](),
	}
	for _, activities := range []reflect.Type{reflect.TypeFor[*workflows.Activities](), reflect.TypeFor[*workflows.Fleet]()} {
		for m := range activities.Methods() {
			types = append(types, m.Type.In(2))
			if out := m.Type.Out(0); out != reflect.TypeFor[error]() {
				types = append(types, out)
			}
		}
	}
	return types
}

// TestPayloadsSurviveTheTrip sends every type full and empty through Temporal's
// converter: a field without a tag, or one that is lost when it is zero, shows.
func TestPayloadsSurviveTheTrip(t *testing.T) {
	types := payloads()
	if len(types) < 20 {
		t.Fatal("found too few types to be true:", types)
	}
	for _, typ := range types {
		for _, full := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v full %v", typ, full), func(t *testing.T) {
				sent := reflect.New(typ)
				if full {
					fill(t, sent.Elem(), typ.String())
				}
				p, err := converter.GetDefaultDataConverter().ToPayload(sent.Interface())
				if err != nil {
					t.Fatal(err)
				}
				got := reflect.New(typ)
				if err := converter.GetDefaultDataConverter().FromPayload(p, got.Interface()); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(sent.Interface(), got.Interface()) {
					t.Errorf("sent %+v\ngot  %+v\nas   %s", sent.Elem(), got.Elem(), p.GetData())
				}
			})
		}
	}
}

// TestFillLeavesNothingZero is the test of the test: a field that is not filled
// could be lost unseen.
func TestFillLeavesNothingZero(t *testing.T) {
	for _, typ := range payloads() {
		v := reflect.New(typ).Elem()
		fill(t, v, typ.String())
		if path := zero(v, typ.String()); path != "" {
			t.Errorf("%s was left zero", path)
		}
	}
	type planted struct {
		Seen   int
		Hidden int `json:"-"`
	}
	p, _ := converter.GetDefaultDataConverter().ToPayload(planted{1, 2})
	var got planted
	_ = converter.GetDefaultDataConverter().FromPayload(p, &got)
	if got == (planted{1, 2}) {
		t.Error("a hidden field survives the trip: the comparison proves nothing")
	}
}

// fill sets every field of v to something.
func fill(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)))
		return
	case v.Type() == reflect.TypeFor[link.Phase]():
		v.Set(reflect.ValueOf(link.Draining))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), path+"[]")
		}
	case reflect.String:
		v.SetString("say \"" + path + "\" <&>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 << 60)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(200)
	default:
		t.Fatalf("%s is a %v: a payload should not have one", path, v.Type())
	}
}

// zero is the path of something in v that is zero, or "".
func zero(v reflect.Value, path string) string {
	if v.IsZero() {
		return path
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if p := zero(v.Field(i), path+"."+v.Type().Field(i).Name); p != "" {
				return p
			}
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if p := zero(v.Index(i), path+"[]"); p != "" {
				return p
			}
		}
	}
	return ""
}
