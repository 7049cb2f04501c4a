// Prints what Go's text/template makes of templates of SPIFFE ID paths, as JSON lines. The output is
// src/identity/template/go.jsonl, with which headcount's templates are compared.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type data struct {
	TrustDomain, Namespace, ServiceAccount, Workload string
}

var labels = map[string]string{"team": "a", "kuma.io/workload": "web", "app.kubernetes.io/name": "shop"}

var templates = []string{
	``, `/workload`, `/workload/{{ .Workload }}`, `/workload/{{.Workload}}`, `/{{- .Workload -}}`,
	`/a/ {{- .Workload -}} /b`, `/a {{ .Workload }} b`, `/ns/{{ .Namespace }}/sa/{{ .ServiceAccount }}`,
	`/{{ .TrustDomain }}/{{ .Workload }}`, `/{{ label "team" }}`, `/{{ label "kuma.io/workload" }}`,
	"/{{ label `team` }}", `/{{ "team" | label }}`, `/{{ (label "team") }}`, `/{{ .Workload | printf "%s" }}`,
	`/{{ printf "%s-%s" .Namespace .Workload }}`, `/{{ .Workload | printf "%s-%s" .Namespace }}`,
	`/{{ printf "%v%%" .Workload }}`, `/{{ print .Namespace "-" .Workload }}`, `/{{ print }}`,
	`/{{ print (label "team") (print "/" .Workload) }}`, `/{{ .Workload | print }}`,
	`/{{ label (print "te" "am") }}`, `/{{/* a comment */}}{{ .Workload }}`, `/{{- /* a comment */ -}} x`,
	`/{{ "\u0041\"\\" }}`, "/{{ `a\\` }}", `/{{"a"}}{{"b"}}`, "/{{\n.Workload\n}}", `/{{ .Workload}} {{- ""}}`,
	`/{{ print "{{" }}`, `/}}`, `/{ {.Workload} }`, `/{{ printf "x" }}`, `/{{ label "app.kubernetes.io/name" }}`,
	// Errors.
	`/{{ .Workload`, `/{{ nope . }}`, `/{{ .Nope }}`, `/{{ .Workload.Name }}`, `/{{ label "missing" }}`,
	`/{{ label }}`, `/{{ label "a" "b" }}`, `/{{ .Workload | .Namespace }}`, `/{{ .Workload | "x" }}`, `/{{ }}`,
	`/{{ end }}`, `/{{ if .Workload }}x`, `/{{ "unclosed }}`, `/{{ .Workload }`, `/{{ | print }}`,
	`/{{ print | }}`, `/{{ (print "a" }}`, `/{{ label "team" | label }}`, `/{{ nil }}`, `/{{ $x }}`,
	`/{{ template "x" }}`, `/{{ break }}`, `/{{-.Workload-}}`, `/{{ .Workload .Namespace }}`,
	`/{{ "a" "b" }}`, `/{{ printf }}`, `/{{ 'ab' }}`, "/{{ `unclosed }}", `/{{/* unclosed }}`,
}

func render(text string) (string, error) {
	label := func(key string) (string, error) {
		if value, ok := labels[key]; ok {
			return value, nil
		}
		return "", fmt.Errorf("label %s not found", key)
	}
	parsed, err := template.New("").Funcs(template.FuncMap{"label": label}).Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = parsed.Execute(&out, data{"example.com", "shop", "web-sa", "web"})
	return out.String(), err
}

func main() {
	lines := json.NewEncoder(os.Stdout)
	lines.SetEscapeHTML(false)
	for _, text := range templates {
		line := map[string]string{"template": text}
		if out, err := render(text); err == nil {
			line["text"] = out
		} else {
			line["error"] = err.Error()
		}
		if err := lines.Encode(line); err != nil {
			panic(err)
		}
	}
}
