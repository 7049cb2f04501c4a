//! Placeholders of templates that have not been filled in.

use super::name::Quoted;

/// Returns the first placeholder in a text, in a notation of a usual template language:
/// `{{ name }}` (Go, Helm, Jinja), `${NAME}` and `$NAME` (shells, envsubst), `$(NAME)`
/// (Kubernetes, which leaves an unknown variable as it is), `<name>` (documentation).
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let between = |open: &str, close: &str| {
        let start = text.find(open)?;
        let end = text[start + open.len()..].find(close).filter(|length| *length > 0)?;
        Some(&text[start..start + open.len() + end + close.len()])
    };
    let bare = || {
        let start = text.find('$')?;
        let name = &text[start + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = name.find(|c| !is_name(c)).unwrap_or(name.len());
        (length > 0).then(|| &text[start..=start + length])
    };
    between("{{", "}}")
        .or_else(|| between("${", "}"))
        .or_else(|| between("$(", ")"))
        .or_else(|| between("<", ">"))
        .or_else(bare)
}

/// Returns the problem of a text that still has a placeholder.
pub(crate) fn unfilled(text: &str) -> Option<String> {
    let found = placeholder(text)?;
    let whole = if found == text { String::new() } else { format!("{}: ", Quoted(text)) };
    Some(format!("{whole}the placeholder {} was not filled in: write the value in its place", Quoted(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notations_of_usual_templates_are_recognized() {
        for (text, expected) in [
            ("{{ host_ip }}", Some("{{ host_ip }}")),
            ("a-{{.Name}}-b", Some("{{.Name}}")),
            ("${IP}", Some("${IP}")),
            ("$(POD_NAME).svc", Some("$(POD_NAME)")),
            ("<name>", Some("<name>")),
            ("$POD_IP:80", Some("$POD_IP")),
            ("{{", None),
            ("{{}}", None),
            ("5$", None),
            ("a<b", None),
            ("web-1", None),
            ("", None),
            ("ä{{ß}}", Some("{{ß}}")),
        ] {
            assert_eq!(placeholder(text), expected, "{text}");
        }
    }

    #[test]
    fn the_problem_names_the_placeholder_and_the_remedy() {
        assert_eq!(
            unfilled("<name>").unwrap(),
            "the placeholder \"<name>\" was not filled in: write the value in its place"
        );
        assert!(unfilled("a-${B}").unwrap().starts_with("\"a-${B}\": the placeholder \"${B}\" was not"));
        assert_eq!(unfilled("web"), None);
    }
}
