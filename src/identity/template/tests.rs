use super::*;

/// Lines of `peers/templates`: what Go makes of each template.
const GO: &str = include_str!("go.jsonl");

struct Sample;

impl Values for Sample {
    fn field(&self, field: Field) -> &str {
        match field {
            Field::TrustDomain => "example.com",
            Field::Namespace => "shop",
            Field::ServiceAccount => "web-sa",
            Field::Workload => "web",
            Field::Mesh => "default",
            Field::Zone => "zone-1",
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        match key {
            "team" => Some("a"),
            WORKLOAD_LABEL => Some("web"),
            "app.kubernetes.io/name" => Some("shop"),
            _ => None,
        }
    }
}

fn render(text: &str, scope: Scope) -> Result<String, String> {
    let template = Template::parse(text, scope)?;
    template.render(&Sample).map_err(|key| format!("label {key} not found"))
}

#[test]
fn templates_give_what_go_makes_of_them_or_are_refused() {
    // Go reads an empty command behind a pipe as the one before it.
    let refused = ["/{{ print | }}"];
    let mut same_messages = Vec::new();
    for line in GO.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let template = line["template"].as_str().unwrap();
        let ours = render(template, Scope::Path);
        match line["text"].as_str() {
            Some(_) if refused.contains(&template) => assert!(ours.is_err(), "{template:?}: {ours:?}"),
            Some(text) => assert_eq!(ours.as_deref(), Ok(text), "{template:?}"),
            None => {
                let error = ours.expect_err(template);
                if line["error"] == error.as_str() {
                    same_messages.push(template.to_owned());
                }
            }
        }
    }
    assert_eq!(same_messages, ["/{{ .Workload", "/{{ nope . }}", "/{{/* unclosed }}"]);
}

#[test]
fn what_is_not_supported_is_refused_with_its_position() {
    for (template, scope, expected) in [
        (
            "/{{ .Nope }}",
            Scope::Path,
            "template: :1:4: can't evaluate field .Nope: the fields are .TrustDomain, ",
        ),
        ("/{{ .Mesh }}", Scope::Path, "template: :1:4: can't evaluate field .Mesh: "),
        (
            "{{ .Workload }}",
            Scope::TrustDomain,
            "template: :1:3: can't evaluate field .Workload: the fields are .Mesh",
        ),
        ("/a\n/{{ if .Workload }}x{{ end }}", Scope::Path, "template: :2:4: if is not supported: use fields"),
        ("/{{ range .Workload }}{{ end }}", Scope::Path, "template: :1:4: range is not"),
        ("/{{ with .Workload }}{{ end }}", Scope::Path, "template: :1:4: with is not"),
        ("/{{ define \"x\" }}{{ end }}", Scope::Path, "template: :1:4: define is not"),
        ("/{{ block \"x\" . }}{{ end }}", Scope::Path, "template: :1:4: "),
        ("/{{ $x := .Workload }}", Scope::Path, "template: :1:4: variables are not supported"),
        ("/{{ . }}", Scope::Path, "template: :1:4: use fields"),
        ("/{{ 1 }}", Scope::Path, "template: :1:4: use fields"),
        ("/{{ true }}", Scope::Path, "template: :1:4: use fields"),
        ("/{{ len .Workload }}", Scope::Path, "template: :1:4: function \"len\" is not supported"),
        ("/{{ printf \"%d\" .Workload }}", Scope::Path, "template: :1:4: printf supports %s"),
        ("/{{ printf \"%s\" }}", Scope::Path, "template: :1:4: printf has too few arguments"),
        ("/{{ printf \"x\" .Workload }}", Scope::Path, "template: :1:4: printf has too many arguments"),
        ("/{{ printf .Workload }}", Scope::Path, "template: :1:4: the format of printf must be"),
        ("/{{ label .Workload }}", Scope::Path, "template: :1:4: the key of label must be a string constant"),
        ("/{{ label \"a\\u007f\" }}", Scope::Path, "template: :1:4: label \"a\\u{7f}\": "),
        ("/{{ print print }}", Scope::Path, "template: :1:10: function \"print\" needs arguments"),
        ("/a{{ end }}/b", Scope::Path, "template: : unexpected {{end}}"),
        ("/a{{ else }}/b", Scope::Path, "template: : unexpected {{end}} or {{else}}"),
    ] {
        let error = Template::parse(template, scope).unwrap_err();
        assert!(error.starts_with(expected), "{template:?}: {error}");
    }
    let chain = "{{if.}}".to_owned() + &"{{else if.}}".repeat(300);
    assert_eq!(Template::parse(&chain, Scope::Path).unwrap_err(), "template: :1: has more than 64 actions");
    assert!(Template::parse(&"/{{ .Workload }}".repeat(64), Scope::Path).is_ok());
    let long = "a".repeat(4_097);
    assert_eq!(Template::parse(&long, Scope::Path).unwrap_err(), "template: :1: is longer than 4096 bytes");
}

#[test]
fn what_depends_on_the_workload_follows_from_the_tree() {
    for (template, expected) in [
        ("/workload/{{ .Workload }}", true),
        ("/{{- .Workload -}}", true),
        ("/{{ label \"kuma.io/workload\" }}", true),
        ("/{{ label `kuma.io/workload` }}", true),
        ("/{{ \"kuma.io/workload\" | label }}", true),
        ("/{{ label (print \"kuma.io/\" \"workload\") }}", true),
        ("/{{ printf \"%s\" (print .Workload) }}", true),
        ("/{{ .Workload | printf \"a-%s\" }}", true),
        ("/.Workload", false),
        ("/{{ \".Workload\" }}", false),
        ("/{{/* .Workload */}}x", false),
        ("/{{ label \"team\" }}/{{ .ServiceAccount }}", false),
    ] {
        assert_eq!(Template::parse(template, Scope::Path).unwrap().uses_workload(), expected, "{template}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in r#"(\{\{|\}\}|[-a-z./ |"`()%\\]|\.Workload|label|print|printf|end|if|ä){0,24}"#) {
        let _ = render(&text, Scope::Path);
    }
}
