{{- define "entrepot.labels" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "entrepot.selector" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "entrepot.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
{{- define "entrepot.metricsAddress" -}}
{{ if .Values.metrics.podMonitor.enabled }}0.0.0.0{{ else }}{{ .Values.metrics.address }}{{ end }}:{{ .Values.ports.metrics }}
{{- end }}
{{- define "entrepot.config" -}}
{{- $listen := list (dict "address" (printf "127.0.0.1:%d" (int .Values.ports.registry))) -}}
{{- $own := dict "listen" $listen "metrics" (dict "address" (include "entrepot.metricsAddress" .)) -}}
{{- if .Values.cluster.enabled -}}
{{- $cluster := dict "secret_file" "/etc/entrepot-cluster/secret" -}}
{{- $peers := dict "dns" (printf "%s-peers.%s.svc.%s" .Release.Name .Release.Namespace .Values.cluster.clusterDomain) -}}
{{- if not (hasKey (.Values.config.cluster | default dict) "peers") -}}{{- $_ := set $cluster "peers" $peers -}}{{- end -}}
{{- if .Values.cluster.tls -}}
{{- $_ := set $cluster "tls" (dict "cert" "/etc/entrepot-cluster/tls.crt" "key" "/etc/entrepot-cluster/tls.key" "ca" "/etc/entrepot-cluster/ca.crt") -}}
{{- end -}}
{{- $_ := set $own "cluster" $cluster -}}
{{- end -}}
{{- mergeOverwrite $own (deepCopy .Values.config) | toYaml -}}
{{- end }}
{{- /* What setup writes to, by engine. */ -}}
{{- define "entrepot.engineFolder" -}}
{{ get (dict "containerd" "/etc/containerd" "k3s" "/etc/rancher/k3s" "rke2" "/etc/rancher/rke2" "crio" "/etc/containers") .Values.engine }}
{{- end }}
{{- define "entrepot.probe" -}}
httpGet: {host: 127.0.0.1, port: metrics, path: {{ . }}}
{{- end }}
