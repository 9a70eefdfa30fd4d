package broker

import (
	"testing"

	"github.com/logbridge/logbridge/wire/tencent"
)

func TestTopicRights(t *testing.T) {
	rows := []struct {
		topic              string
		publish, subscribe bool
	}{
		{"$log/operation/ABCDE12345/dev_01", true, false},
		{"$log/operation/result/ABCDE12345/dev_01", false, true},
		{"$log/report/ABCDE12345/dev_01", true, false},
		{"$sys/operation/ABCDE12345/dev_01", true, false},
		{"$sys/operation/result/ABCDE12345/dev_01", false, true},
		{"ABCDE12345/dev_01/data", true, true},
		{"ABCDE12345/dev_01/a/b", true, true},
		{"$thing/up/property/ABCDE12345/dev_01", true, true},
		{"$shadow/operation/result/ABCDE12345/dev_01", true, true},
		{"$ota/update/ABCDE12345/dev_01", true, true},
		{"$broadcast/rxd/ABCDE12345/dev_01", true, true},
		{"$rrpc/rxd/ABCDE12345/dev_01/+", false, true},
		{"$rrpc/txd/ABCDE12345/dev_01/17", true, true},

		{"", false, false},
		{"#", false, false},
		{"+/+/+", false, false},
		{"ABCDE12345/dev_01", false, false},
		{"ABCDE12345/dev_01/#", false, false},
		{"ABCDE12345/dev_01/+", false, false},
		{"ABCDE12345/dev_02/data", false, false},
		{"ABCDE12345/dev_012/data", false, false},
		{"XABCDE12345/dev_01/data", false, false},
		{"$log/operation/ABCDE12345/dev_02", false, false},
		{"$log/operation/ABCDE12345/dev_01/x", false, false},
		{"$log/operation/result/ABCDE12345/+", false, false},
		{"$log/operation/result/+/dev_01", false, false},
		{"$log/operation/result/ABCDE12345/dev_02", false, false},
		{"$log/other/ABCDE12345/dev_01", false, false},
		{"$sys/other/ABCDE12345/dev_01", false, false},
		{"$SYS/operation/ABCDE12345/dev_01", false, false},
		{"$share/g/ABCDE12345/dev_01/data", false, false},
		{"$share/x/$log/operation/result/ABCDE12345/dev_01", false, false},
		{"$queue/x/ABCDE12345/dev_01", false, false},
		{"$rrpc/rxd/ABCDE12345/dev_01/#", false, false},
		{"$rrpc/rxd/ABCDE12345/dev_01/+/+", false, false},
		{"$rrpc/rxd/ABCDE12345/+", false, false},
		{"$thing/down/property/ABCDE12345/dev_01/+", false, false},
		{"$thing/down/property/ABCDE12345/dev_02", false, false},
		{"$+/down/property/ABCDE12345/dev_01", false, false},
	}
	for _, row := range rows {
		if got := mayPublish(dev1, row.topic); got != row.publish {
			t.Errorf("publish %q: %v", row.topic, got)
		}
		if got := maySubscribe(dev1, row.topic); got != row.subscribe {
			t.Errorf("subscribe %q: %v", row.topic, got)
		}
	}
}

func TestTopicRightsDoNotAllocate(t *testing.T) {
	topics := []string{
		tencent.OperationTopic(dev1), tencent.ReportTopic(dev1), tencent.SysTopic(dev1), "ABCDE12345/dev_01/data",
		"$thing/up/property/ABCDE12345/dev_01",
	}
	allocated := testing.AllocsPerRun(100, func() {
		for _, topic := range topics {
			if !mayPublish(dev1, topic) {
				t.Fatal(topic)
			}
		}
		if !maySubscribe(dev1, "$log/operation/result/ABCDE12345/dev_01") || mayPublish(dev2, "$log/report/ABCDE12345/dev_01") {
			t.Fatal("rights")
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
