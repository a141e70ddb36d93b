// k3s-hosts FILE FOLDER: reads a registries.yaml with the parser of k3s and RKE2 (rancher/wharfie), and writes of it the hosts.toml
// files that they give their containerd: the mirrors in their order, below /v2 unless they have a path, and then the registry itself.
package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rancher/wharfie/pkg/registries"
)

// hostURL is where containerd sends requests to, and whether it is to add /v2 itself.
func hostURL(endpoint string) (string, bool, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false, err
	}
	if u.Host == "docker.io" {
		u.Host = "registry-1.docker.io"
	}
	switch u.Path {
	case "", "/", "/v2":
		u.Path = "/v2"
		return u.String(), false, nil
	}
	return u.String(), true, nil
}

func write(folder, host string, mirror registries.Mirror, configs map[string]registries.RegistryConfig) error {
	var out strings.Builder
	if host != "*" {
		server, _, err := hostURL(host)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "server = %q\n", server)
	}
	for _, endpoint := range mirror.Endpoints {
		to, override, err := hostURL(endpoint)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", to)
		if override {
			fmt.Fprintln(&out, "  override_path = true")
		}
		if u, err := url.Parse(to); err == nil && configs[u.Host].TLS != nil && configs[u.Host].TLS.CAFile != "" {
			fmt.Fprintf(&out, "  ca = [%q]\n", configs[u.Host].TLS.CAFile)
		}
	}
	name := host
	if host == "*" {
		name = "_default"
	}
	if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name, "hosts.toml"), []byte(out.String()), 0o644)
}

func run(file, folder string) error {
	registry, err := registries.GetPrivateRegistries(file)
	if err != nil {
		return err
	}
	for host, mirror := range registry.Registry.Mirrors {
		if err := write(folder, host, mirror, registry.Registry.Configs); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
