// The stargz snapshotter as a daemon: Debian has its client only, and the Go module of its own daemon is not published. All that
// fetches and mounts is the snapshotter's library.
//
//	stargz FOLDER: reads config.toml there, keeps what it has there, and listens on sock there
package main

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml"
	"google.golang.org/grpc"
)

func try[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	folder := os.Args[1]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var config service.Config
	tree := try(toml.LoadFile(filepath.Join(folder, "config.toml")))
	if err := tree.Unmarshal(&config); err != nil {
		log.Fatal(err)
	}
	snapshotter := try(service.NewStargzSnapshotterService(ctx, filepath.Join(folder, "root"), &config))
	listener := try(net.Listen("unix", filepath.Join(folder, "sock")))
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	go func() {
		<-ctx.Done()
		server.Stop()
		snapshotter.Close()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
	snapshotter.Close()
}
