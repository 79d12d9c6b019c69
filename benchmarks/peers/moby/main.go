// The Go host, for comparison: does rounds of work as it is told, line by line,
// and says what each took.
//
// A line is {"Op": "call", "Where": "/run/x.sock", "Count": 50}; its answer is
// {"Nanoseconds": 6250000, "Error": ""}. The end of the input ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/docker/docker/pkg/plugins"
)

// The package looks for plugins in fixed places, and keeps what it found for good.

//go:linkname socketsPath github.com/docker/docker/pkg/plugins.socketsPath
var socketsPath string

//go:linkname specsPaths github.com/docker/docker/pkg/plugins.specsPaths
var specsPaths []string

//go:linkname storage github.com/docker/docker/pkg/plugins.storage
var storage struct {
	sync.Mutex
	plugins map[string]*plugins.Plugin
}

type order struct {
	Op    string
	Where string
	File  string
	Count int
}

type report struct {
	Nanoseconds int64
	Error       string
}

type volume struct {
	Name string
	ID   string
}

type mounted struct {
	Mountpoint string
	Err        string
}

// Clients by socket: each is made once, as an engine would.
var clients = map[string]*plugins.Client{}

func client(socket string) (*plugins.Client, error) {
	if known, ok := clients[socket]; ok {
		return known, nil
	}
	made, err := plugins.NewClient("unix://"+socket, nil)
	if err == nil {
		clients[socket] = made
	}
	return made, err
}

func call(o order) error {
	c, err := client(o.Where)
	if err != nil {
		return err
	}
	args := volume{"books", "reader-1"}
	for i := 0; i < o.Count; i++ {
		var answer mounted
		if err := c.Call("VolumeDriver.Mount", args, &answer); err != nil {
			return err
		}
		if answer.Mountpoint != "/mnt/books" {
			return fmt.Errorf("mounted at %q", answer.Mountpoint)
		}
	}
	return nil
}

func sendFile(o order) error {
	c, err := client(o.Where)
	if err != nil {
		return err
	}
	file, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer file.Close()
	var answer mounted
	return c.SendFile("Benchmark.Sink", file, &answer)
}

func stream(o order) error {
	c, err := client(o.Where)
	if err != nil {
		return err
	}
	body, err := c.Stream("Benchmark.Source", map[string]int{"Bytes": o.Count})
	if err != nil {
		return err
	}
	defer body.Close()
	// As into any writer: the one that discards would choose a buffer of its own.
	size, err := io.Copy(struct{ io.Writer }{io.Discard}, body)
	if err == nil && size != int64(o.Count) {
		err = fmt.Errorf("%d bytes of %d", size, o.Count)
	}
	return err
}

func scan(o order) error {
	specsPaths = []string{o.Where}
	names, err := plugins.Scan()
	if err == nil && len(names) != o.Count {
		err = fmt.Errorf("%d names of %d", len(names), o.Count)
	}
	return err
}

func getAll(o order) error {
	socketsPath, specsPaths = o.Where, nil
	storage.Lock()
	storage.plugins = map[string]*plugins.Plugin{}
	storage.Unlock()
	found, err := plugins.GetAll("VolumeDriver")
	if err == nil && len(found) != o.Count {
		err = fmt.Errorf("%d plugins of %d", len(found), o.Count)
	}
	return err
}

var work = map[string]func(order) error{
	"call": call, "sendFile": sendFile, "stream": stream, "scan": scan, "getAll": getAll,
}

func main() {
	socketsPath = "/nonexistent"
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var o order
		if err := json.Unmarshal(orders.Bytes(), &o); err != nil {
			panic(err)
		}
		var r report
		began := time.Now()
		err := work[o.Op](o)
		r.Nanoseconds = time.Since(began).Nanoseconds()
		if err != nil {
			r.Error = err.Error()
		}
		line, _ := json.Marshal(r)
		fmt.Println(string(line))
	}
}
