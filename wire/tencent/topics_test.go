package tencent

import (
	"strings"
	"testing"

	"github.com/logbridge/logbridge"
	"github.com/logbridge/logbridge/wire/recorded"
)

func TestParseTopic(t *testing.T) {
	none := logbridge.DeviceID{}
	for topic, want := range map[string]struct {
		topic Topic
		id    logbridge.DeviceID
	}{
		OperationTopic(dev01):                               {TopicOperation, dev01},
		OperationResultTopic(dev01):                         {TopicOperationResult, dev01},
		ReportTopic(dev01):                                  {TopicReport, dev01},
		SysTopic(dev01):                                     {TopicSys, dev01},
		SysResultTopic(dev01):                               {TopicSysResult, dev01},
		"ABCDE12345/dev_01/data":                            {TopicData, dev01},
		"ABCDE12345/dev_01/a/b":                             {TopicData, dev01},
		"ABCDE12345/dev_01/#":                               {TopicData, dev01},
		"$shadow/operation/ABCDE12345/dev_01":               {TopicService, dev01},
		"$shadow/operation/result/ABCDE12345/dev_01":        {TopicService, dev01},
		"$thing/down/property/ABCDE12345/dev_01":            {TopicService, dev01},
		"$broadcast/rxd/ABCDE12345/dev_01":                  {TopicService, dev01},
		"$rrpc/rxd/ABCDE12345/dev_01/+":                     {TopicService, dev01},
		"$log/report/ABCDE12345/dev_01/more":                {TopicService, dev01},
		"$log/operation/result/ABCDE12345/dev_01/":          {TopicService, dev01},
		"ABCDE12345/dev_01":                                 {TopicOther, none},
		"ABCDE12345/dev 01/data":                            {TopicOther, none},
		"ABCDE1234/dev_01/data":                             {TopicOther, none},
		"ABCDE12345/+/data":                                 {TopicOther, none},
		"$log/operation/result/ABCDE12345/+":                {TopicOther, none},
		"$log/operation/result/+/dev_01":                    {TopicOther, none},
		"$log/operation/result/#":                           {TopicOther, none},
		"$log/operation/ABCDE12345":                         {TopicOther, none},
		"$log/a/b/c/ABCDE12345/dev_01":                      {TopicOther, none},
		"$log":                                              {TopicOther, none},
		"$SYS/broker/uptime":                                {TopicOther, none},
		"#":                                                 {TopicOther, none},
		"":                                                  {TopicOther, none},
		"$log/report/ABCDE12345/" + strings.Repeat("d", 49): {TopicOther, none},
	} {
		if got, id := ParseTopic(topic); got != want.topic || id != want.id {
			t.Errorf("%s: %d %v, want %d %v", topic, got, id, want.topic, want.id)
		}
	}
}

// TestRecordedTopics: every topic that a recorded device published to or subscribed to is its own.
func TestRecordedTopics(t *testing.T) {
	packets, err := recorded.DevicePackets()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Topic]int{}
	for _, p := range packets {
		var topic string
		switch fields := strings.Fields(p.Label); {
		case !p.FromClient:
			continue
		case fields[0] == "SUBSCRIBE":
			topic = strings.Split(p.Label, "'")[1]
		case fields[0] == "PUBLISH":
			topic = fields[3]
		default:
			continue
		}
		got, id := ParseTopic(topic)
		if id != dev01 {
			t.Errorf("%s: %s: %d %v", p.Capture, topic, got, id)
		}
		seen[got]++
	}
	for _, want := range []Topic{TopicOperation, TopicOperationResult, TopicSys, TopicSysResult, TopicData} {
		if seen[want] == 0 {
			t.Errorf("no topic of kind %d in the recordings", want)
		}
	}
	if seen[TopicOther]+seen[TopicService] != 0 {
		t.Errorf("unknown topics: %v", seen)
	}
}

func TestParseClientID(t *testing.T) {
	if id, err := ParseClientID(ClientID(dev01)); id != dev01 || err != nil {
		t.Errorf("%v, %v", id, err)
	}
	long := "ABCDE12345" + strings.Repeat("d", 48) // longer than MQTT 3.1 allows, as PY sends it
	if id, err := ParseClientID(long); id.Device != long[10:] || err != nil {
		t.Errorf("%v, %v", id, err)
	}
	for _, in := range []string{"", "ABCDE12345", "ABCDE1234_dev", "ABCDE12345dev/01", long + "d"} {
		if id, err := ParseClientID(in); err == nil {
			t.Errorf("%q: %v", in, id)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, topic := range []string{
		"$log/operation/result/ABCDE12345/dev_01", "$rrpc/rxd/ABCDE12345/dev_01/+", "ABCDE12345/dev_01/data", "$/ABCDE12345/d", "a/b/c",
	} {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		kind, id := ParseTopic(topic)
		if (kind == TopicOther) != (id == logbridge.DeviceID{}) {
			t.Fatalf("%d %v", kind, id)
		}
		if kind == TopicOther {
			return
		}
		if err := id.Validate(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Index(topic, id.String()); n < 0 {
			t.Fatalf("%q does not name %v", topic, id)
		}
		exact := map[Topic]string{
			TopicOperation: OperationTopic(id), TopicOperationResult: OperationResultTopic(id), TopicReport: ReportTopic(id),
			TopicSys: SysTopic(id), TopicSysResult: SysResultTopic(id),
		}
		if want, ok := exact[kind]; ok && want != topic {
			t.Fatalf("%q is taken for %q", topic, want)
		}
	})
}
