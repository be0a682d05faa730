// Receives the handler's webhooks and verifies their signatures, with Go's standard library.
//
//	WEBHOOK_SECRET=... go run main.go 8080
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxBodyBytes = 1 << 20
	maxAge       = 5 * time.Minute
)

type receiver struct {
	key []byte
	// A handler delivers at least once. Keep the ids where they survive a restart, for as long as events.
	seen sync.Map
}

func (r *receiver) isAuthentic(header http.Header, body []byte) bool {
	id, timestamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > maxAge {
		return false
	}
	digest := hmac.New(sha256.New, r.key)
	fmt.Fprintf(digest, "%s.%s.", id, timestamp)
	digest.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(digest.Sum(nil))
	// One signature for each secret, so that secrets can be rotated.
	for _, given := range strings.Fields(header.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(given), []byte(expected)) {
			return true
		}
	}
	return false
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBodyBytes))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if request.Method != http.MethodPost || !r.isAuthentic(request.Header, body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id := request.Header.Get("Webhook-Id")
	if _, seen := r.seen.Load(id); !seen {
		var event struct {
			SessionID string `json:"session_id"`
			Reason    string `json:"reason"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Printf("ended %s: %s\n", event.SessionID, event.Reason)
		// Last, so that an event whose processing failed is processed again.
		r.seen.Store(id, nil)
	}
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	secret := os.Getenv("WEBHOOK_SECRET")
	if secret == "" {
		log.Fatal("WEBHOOK_SECRET is not set")
	}
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := http.Server{Handler: &receiver{key: key}, ReadTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
