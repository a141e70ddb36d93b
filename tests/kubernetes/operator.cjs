// operator.cjs NODE_MODULES FILE: the documents of the operator's kinds in a JSON list keep to its definitions.
const [modules, file] = process.argv.slice(2);
const kinds = modules + "/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/";
let seen = 0;
for (const d of JSON.parse(require("fs").readFileSync(file))) {
    if (d.apiVersion !== "monitoring.coreos.com/v1") continue;
    const Kind = require(kinds + d.kind)[d.kind];
    new Kind(d).validate();
    seen++;
}
if (seen < 2) throw new Error("a PodMonitor and a PrometheusRule were to be there");
