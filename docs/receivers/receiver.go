// Receive Clawback's events with Go's standard library (1.22 or newer): go run receiver.go
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type event struct {
	ID       string
	Sequence int
	Data     struct{ Entitlement map[string]any }
}

const file = "access.json" // a database of yours in its place, and a transaction in the place of its renaming

// Every event by its id, and the newest one of each entitlement by the name of that.
var lock, book = sync.Mutex{}, map[string]event{}

func genuine(h http.Header, body []byte) bool { // signed with our secret, within five minutes
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("CLAWBACK_SECRET"), "whsec_"))
	at, _ := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64) // 0, and so too old, if it is no number
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)))
	ours := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	fits := func(one string) bool { return hmac.Equal(ours, []byte(one)) }
	fresh := time.Since(time.Unix(at, 0)).Abs() < 5*time.Minute
	return err == nil && len(key) >= 24 && fresh && slices.ContainsFunc(strings.Fields(h.Get("webhook-signature")), fits)
}

func take(e event) { // remembered and done by one rename; a failure ends the process, nothing is half done
	lock.Lock()
	defer lock.Unlock()
	name, _ := json.Marshal([]any{e.Data.Entitlement["user_id"], e.Data.Entitlement["key"]})
	if e.Data.Entitlement != nil && book[e.ID].ID == "" && e.Sequence > book[string(name)].Sequence {
		book[string(name)] = e // its "active" says whether the user may use it; the newest wins, in any order
	}
	book[e.ID] = event{ID: e.ID}
	text, _ := json.Marshal(book)
	if os.WriteFile(file+".new", text, 0o600) != nil || os.Rename(file+".new", file) != nil {
		log.Fatal("cannot write ", file)
	}
}

func receive(w http.ResponseWriter, r *http.Request) {
	var e event
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // raw: JSON written anew is not signed
	if err != nil || !genuine(r.Header, body) || json.Unmarshal(body, &e) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	take(e)
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &book) != nil {
		log.Fatal("cannot read ", file)
	}
	http.HandleFunc("POST /events", receive)
	log.Fatal(http.ListenAndServe("127.0.0.1:8090", nil))
}
