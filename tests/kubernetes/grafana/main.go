// grafana-check FILE: whether a dashboard keeps to the schema that Grafana publishes, with all that it requires and nothing unknown.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func end(err error) {
	// Without any fault it is a list of none, and not nil.
	if err != nil && err.Error() != "" {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	var d dashboard.Dashboard

	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(os.Args[1])
	end(err)
	end(d.UnmarshalJSONStrict(text))
	end(d.Validate())
}
