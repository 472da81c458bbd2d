// Receive Clawback's events with Go (1.19 or newer) and its standard library: go run receiver.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func receive(w http.ResponseWriter, r *http.Request) {
	id, stamp, given := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), r.Header.Get("webhook-signature")
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("CLAWBACK_SECRET"), "whsec_"))
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 100_000)) // raw: JSON that is written anew is signed no more
	at, _ := json.Number(stamp).Int64()
	fits, mac, event := false, hmac.New(sha256.New, key), map[string]any{}
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	ours := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, one := range strings.Fields(given) {
		fits = fits || hmac.Equal(ours, []byte(one))
	}
	if !fits || len(key) < 24 || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute || json.Unmarshal(body, &event) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	held, acts := event["data"].(map[string]any)["entitlement"].(map[string]any)
	row := fmt.Sprintf("access/%x/%x/%020.f %t %s", held["user_id"], held["key"], event["sequence"], held["active"], id)
	if acts && os.MkdirAll(row, 0o700) != nil { // a row of your database: twice is once, and the last by name is true
		panic("cannot write " + row) // no answer: it comes again
	}
}

func main() { panic(http.ListenAndServe("127.0.0.1:8090", http.HandlerFunc(receive))) }
