// Command wget stands in for the wget of the public image of nats-server, which its
// health check in docker-compose.yml calls: the image that the tests put in its
// place is made from scratch, without a network. It gets the last argument.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	if err := get(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(1)
	}
}

func get(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("server returned %s", resp.Status)
	}
	_ = resp.Body.Close()
	return err
}
