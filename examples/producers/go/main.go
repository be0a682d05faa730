// Writes a login, an activity and a logout of each session.
//
//	go run . localhost:9092 session_logs user-1 session-1 session-2
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	Event     string    `json:"event"`
	SessionID string    `json:"session_id"`
	UserID    string    `json:"user_id"`
	Time      time.Time `json:"activity_timestamp"`
}

func main() {
	bootstrap, topic, user, sessions := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	// The defaults are right: acks of all replicas, idempotence, and the partitioner that trackers expect.
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var records []*kgo.Record
	for _, session := range sessions {
		for _, kind := range []string{"login", "activity", "logout"} {
			value, err := json.Marshal(event{kind, session, user, time.Now()})
			if err != nil {
				log.Fatal(err)
			}
			records = append(records, &kgo.Record{Topic: topic, Key: []byte(session), Value: value})
		}
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		log.Fatal(err)
	}
}
