// What users of Consul's own Go client do, against the server that is named:
//
//	clients flows ADDRESS
//	clients contend ADDRESS PREFIX COUNT
//	clients hold ADDRESS KEY
//
// The first goes through the KV, transactions, sessions, Lock and Semaphore. The second takes the lock at
// PREFIX/lock again and again, and each time adds one to the number at PREFIX/count by CAS, and writes what it
// was, to be checked by whoever started several of these and killed some, or their servers. The third takes a lock
// and keeps it until it is lost or TERM comes, and says so.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(ok bool, what ...any) {
	if !ok {
		panic(fmt.Sprint(what...))
	}
}

func client(address string) *api.Client {
	c, err := api.NewClient(&api.Config{Address: address})
	must(err)
	return c
}

func main() {
	c := client(os.Args[2])
	switch os.Args[1] {
	case "flows":
		keys(c)
		waits(c)
		transactions(c)
		sessions(c)
		locks(c)
		semaphores(c)
		servers(c)
		fmt.Println("done")
	case "contend":
		count, err := strconv.Atoi(os.Args[4])
		must(err)
		contend(c, os.Args[3], count)
	case "hold":
		hold(c, os.Args[3])
	}
}

func keys(c *api.Client) {
	kv := c.KV()
	_, err := kv.Put(&api.KVPair{Key: "go/a", Value: []byte("1"), Flags: 1 << 63}, nil)
	must(err)
	pair, meta, err := kv.Get("go/a", nil)
	must(err)
	check(string(pair.Value) == "1" && pair.Flags == 1<<63 && meta.LastIndex == pair.ModifyIndex, pair, meta)
	check(meta.KnownLeader && meta.LastContact == 0, meta)
	none, meta, err := kv.Get("go/none", &api.QueryOptions{AllowStale: true})
	must(err)
	check(none == nil && meta.LastIndex >= 1, none, meta)
	ok, _, err := kv.CAS(&api.KVPair{Key: "go/a", Value: []byte("2"), ModifyIndex: pair.ModifyIndex}, nil)
	must(err)
	check(ok, "cas")
	ok, _, err = kv.CAS(&api.KVPair{Key: "go/a", Value: []byte("3"), ModifyIndex: pair.ModifyIndex}, nil)
	must(err)
	check(!ok, "an old cas")
	_, err = kv.Put(&api.KVPair{Key: "go/dir/b", Value: nil}, nil)
	must(err)
	pairs, _, err := kv.List("go/", &api.QueryOptions{RequireConsistent: true})
	must(err)
	check(len(pairs) == 2 && pairs[1].Key == "go/dir/b" && len(pairs[1].Value) == 0, pairs)
	names, _, err := kv.Keys("go/", "/", nil)
	must(err)
	check(reflect.DeepEqual(names, []string{"go/a", "go/dir/"}), names)
	ok, _, err = kv.DeleteCAS(pair, nil)
	must(err)
	check(!ok, "an old delete")
	_, err = kv.DeleteTree("go/", nil)
	must(err)
	pairs, _, err = kv.List("go/", nil)
	must(err)
	check(len(pairs) == 0, pairs)
}

func waits(c *api.Client) {
	kv := c.KV()
	_, meta, err := kv.Get("go/wait", nil)
	must(err)
	begun := time.Now()
	_, same, err := kv.Get("go/wait", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 300 * time.Millisecond})
	must(err)
	check(time.Since(begun) >= 300*time.Millisecond && same.LastIndex == meta.LastIndex, same)
	found := make(chan *api.KVPair)
	go func() {
		pair, _, err := kv.Get("go/wait", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		must(err)
		found <- pair
	}()
	_, err = kv.Put(&api.KVPair{Key: "go/wait", Value: []byte("1")}, nil)
	must(err)
	pair := <-found
	check(pair != nil && string(pair.Value) == "1", pair)
	check(time.Since(begun) < 30*time.Second, "it waited too long")
}

func transactions(c *api.Client) {
	ok, done, _, err := c.KV().Txn(api.KVTxnOps{
		{Verb: api.KVSet, Key: "go/txn", Value: []byte("1")},
		{Verb: api.KVGet, Key: "go/txn"},
		{Verb: api.KVCheckNotExists, Key: "go/none"},
		{Verb: api.KVGetOrEmpty, Key: "go/none"},
	}, nil)
	must(err)
	check(ok && len(done.Results) == 3 && string(done.Results[1].Value) == "1", ok, done)
	ok, done, _, err = c.KV().Txn(api.KVTxnOps{
		{Verb: api.KVSet, Key: "go/txn", Value: []byte("2")},
		{Verb: api.KVCheckIndex, Key: "go/txn", Index: 1},
	}, nil)
	must(err)
	check(!ok && len(done.Errors) == 1 && done.Errors[0].OpIndex == 1, ok, done)
	pair, _, err := c.KV().Get("go/txn", nil)
	must(err)
	check(string(pair.Value) == "1", pair)
	// What Vault asks to learn whether transactions are large enough.
	ops := api.TxnOps{}
	for range 128 {
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: "go/none"}})
	}
	ok, all, _, err := c.Txn().Txn(ops, nil)
	must(err)
	check(ok && len(all.Results) == 128 && len(all.Errors) == 0, ok)
}

func sessions(c *api.Client) {
	s := c.Session()
	id, _, err := s.Create(&api.SessionEntry{Name: "go", TTL: "10s", LockDelay: time.Millisecond}, nil)
	must(err)
	entry, _, err := s.Info(id, nil)
	must(err)
	check(entry.TTL == "10s" && entry.LockDelay == time.Millisecond && entry.Behavior == "release", entry)
	entry, _, err = s.Renew(id, nil)
	must(err)
	check(entry.ID == id, entry)
	all, _, err := s.List(nil)
	must(err)
	check(len(all) == 1, all)
	ok, _, err := c.KV().Acquire(&api.KVPair{Key: "go/held", Value: []byte("1"), Session: id}, nil)
	must(err)
	check(ok, "acquire")
	_, err = s.Destroy(id, nil)
	must(err)
	pair, _, err := c.KV().Get("go/held", nil)
	must(err)
	check(pair.Session == "" && pair.LockIndex == 1, pair)
	entry, _, err = s.Renew(id, nil)
	must(err)
	check(entry == nil, "a session that is over was renewed")
}

func locks(c *api.Client) {
	lock, err := c.LockKey("go/lock")
	must(err)
	lost, err := lock.Lock(nil)
	must(err)
	other, err := c.LockOpts(&api.LockOptions{Key: "go/lock", LockTryOnce: true, LockWaitTime: 200 * time.Millisecond})
	must(err)
	held, err := other.Lock(nil)
	must(err)
	check(held == nil, "two hold one lock")
	check(other.Destroy() == api.ErrLockInUse, "a lock in use was destroyed")
	// Deleting its key takes it away from whoever holds it.
	_, err = c.KV().Delete("go/lock", nil)
	must(err)
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		panic("nobody was told that the lock is lost")
	}
	must(lock.Unlock())
	held, err = other.Lock(nil)
	must(err)
	check(held != nil, "a lock that was given up cannot be had")
	must(other.Unlock())
	must(other.Destroy())
	_, err = c.KV().Put(&api.KVPair{Key: "go/lock", Value: []byte("x")}, nil)
	must(err)
	_, err = other.Lock(nil)
	check(err == api.ErrLockConflict, err)
}

func semaphores(c *api.Client) {
	semaphore := func() *api.Semaphore {
		s, err := c.SemaphoreOpts(&api.SemaphoreOptions{
			Prefix: "go/semaphore", Limit: 2, SemaphoreTryOnce: true, SemaphoreWaitTime: 200 * time.Millisecond,
		})
		must(err)
		return s
	}
	one, two, three := semaphore(), semaphore(), semaphore()
	for _, s := range []*api.Semaphore{one, two} {
		held, err := s.Acquire(nil)
		must(err)
		check(held != nil, "a place that is free cannot be had")
	}
	held, err := three.Acquire(nil)
	must(err)
	check(held == nil, "three hold two places")
	must(one.Release())
	held, err = three.Acquire(nil)
	must(err)
	check(held != nil, "a place that was given up cannot be had")
	must(two.Release())
	must(three.Release())
	must(one.Destroy())
}

func servers(c *api.Client) {
	name, err := c.Agent().NodeName()
	must(err)
	nodes, meta, err := c.Catalog().Nodes(nil)
	must(err)
	check(len(nodes) == 1 && nodes[0].Node == name && meta.LastIndex >= 1, nodes)
	found, _, err := c.Health().Service("web", "", true, nil)
	must(err)
	check(len(found) == 0, found)
	raft, err := c.Operator().RaftGetConfiguration(nil)
	must(err)
	check(len(raft.Servers) == 1 && raft.Servers[0].Leader && raft.Servers[0].Node == name, raft)
	health, err := c.Operator().AutopilotServerHealth(nil)
	must(err)
	check(health.Healthy && len(health.Servers) == 1 && health.Servers[0].Voter, health)
	state, err := c.Operator().AutopilotState(nil)
	must(err)
	check(state.Leader == raft.Servers[0].ID, state)
	settings, err := c.Operator().AutopilotGetConfiguration(nil)
	must(err)
	check(!settings.CleanupDeadServers, settings)
	err = c.Operator().RaftRemovePeerByID("nobody", nil)
	check(err != nil, "nobody was removed")
	leader, err := c.Status().Leader()
	must(err)
	peers, err := c.Status().Peers()
	must(err)
	check(len(peers) == 1 && peers[0] == leader, leader, peers)
	err = c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web"})
	check(err != nil, "a service was registered that nobody finds")
}

// Whoever is killed does not keep the others out for long.
func lockAt(c *api.Client, key string) *api.Lock {
	lock, err := c.LockOpts(&api.LockOptions{Key: key, SessionTTL: "10s", LockDelay: time.Millisecond})
	must(err)
	return lock
}

func hold(c *api.Client, key string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	lock := lockAt(c, key)
	lost, err := lock.Lock(nil)
	must(err)
	fmt.Println("held")
	select {
	case <-lost:
		fmt.Println("lost")
	case <-stop:
		must(lock.Unlock())
		fmt.Println("released")
	}
}

func contend(c *api.Client, prefix string, count int) {
	for range count {
		lock := lockAt(c, prefix+"/lock")
		lost, err := lock.Lock(nil)
		if err != nil {
			failed(err)
			continue
		}
		work(c, prefix, lost)
		// It may have been lost meanwhile.
		err = lock.Unlock()
		if err != nil && err != api.ErrLockNotHeld {
			failed(err)
		}
	}
}

// The server did not do it. Another lock is another session.
func failed(err error) {
	fmt.Println("failed -")
	fmt.Fprintln(os.Stderr, err)
	time.Sleep(200 * time.Millisecond)
}

// The number is read and written with nothing in between that would keep two apart but the lock.
func work(c *api.Client, prefix string, lost <-chan struct{}) {
	kv := c.KV()
	held, _, err := kv.Get(prefix+"/lock", &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		failed(err)
		return
	}
	pair, _, err := kv.Get(prefix+"/count", &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		failed(err)
		return
	}
	number, at := 0, uint64(0)
	if pair != nil {
		number, err = strconv.Atoi(string(pair.Value))
		must(err)
		at = pair.ModifyIndex
	}
	fmt.Printf("in %s %d\n", held.Session, number)
	time.Sleep(20 * time.Millisecond)
	select {
	case <-lost:
		fmt.Printf("lost %s\n", held.Session)
		return
	default:
	}
	ok, _, err := kv.CAS(&api.KVPair{Key: prefix + "/count", Value: []byte(strconv.Itoa(number + 1)), ModifyIndex: at}, nil)
	if err != nil {
		// It may have been written.
		fmt.Printf("unknown %s %d\n", held.Session, number+1)
		failed(err)
		return
	}
	if !ok {
		fmt.Printf("clash %s %d\n", held.Session, number)
		return
	}
	fmt.Printf("out %s %d\n", held.Session, number+1)
}
