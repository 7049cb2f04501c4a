//! The commands in a document.

/// A block of commands; it has at least one.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) commands: Vec<Command>,
}

/// A command, which may span several lines.
#[derive(Debug)]
pub(super) struct Command {
    /// Number of its first line in the document.
    pub(super) line: usize,
    pub(super) text: String,
    /// The output that the document shows.
    pub(super) output: Option<String>,
}

impl Command {
    /// The first line without its comment, which identifies the command.
    pub(super) fn key(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        first.split("  #").next().unwrap_or_default().trim_end()
    }
}

/// Returns the blocks of the languages `sh` and `console`. The output of the commands of a `console`
/// block follows each of them; a `json` block after a `sh` block is the output of its last command.
pub(super) fn parse(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut after_sh = false;
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            after_sh &= line.trim().is_empty();
            continue;
        };
        let inner: Vec<_> = lines.by_ref().take_while(|(line, _)| line.trim_start() != "```").collect();
        match language {
            "sh" | "bash" | "shell" => blocks.push(Block { commands: commands(&inner) }),
            "console" => blocks.push(Block { commands: dialogue(&inner) }),
            "json" if after_sh => {
                let last = blocks.last_mut().and_then(|block| block.commands.last_mut());
                let lines: Vec<_> = inner.iter().map(|(line, _)| *line).collect();
                last.unwrap().output = Some(lines.join("\n"));
            }
            _ => {}
        }
        after_sh = language == "sh";
        assert!(blocks.last().is_none_or(|block| !block.commands.is_empty()), "line {number}: no command");
    }
    blocks
}

/// Splits the lines of a script into commands.
fn commands(lines: &[(&str, usize)]) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut lines = lines.iter().filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    while let Some((first, number)) = lines.next() {
        let mut text = (*first).to_owned();
        while !is_complete(&text) {
            let (next, _) = lines.next().unwrap_or_else(|| panic!("line {number}: incomplete: {text}"));
            text += "\n";
            text += next;
        }
        commands.push(Command { line: *number, text, output: None });
    }
    commands
}

/// Splits the lines of a dialogue into commands, each after `$ `, and their outputs.
fn dialogue(lines: &[(&str, usize)]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for (line, number) in lines {
        if let Some(first) = line.strip_prefix("$ ") {
            commands.push(Command { line: *number, text: first.to_owned(), output: Some(String::new()) });
            continue;
        }
        let command = commands.last_mut().unwrap_or_else(|| panic!("line {number}: no command before it"));
        if is_complete(&command.text) {
            let output = command.output.get_or_insert_default();
            *output += line;
            output.push('\n');
        } else {
            command.text += "\n";
            command.text += line;
        }
    }
    commands
}

/// Whether a command ends here: bash can parse it, and it does not continue in the next line.
fn is_complete(text: &str) -> bool {
    let parsed = std::process::Command::new("bash").args(["-n", "-c", text]).output().unwrap();
    parsed.status.success() && !text.ends_with(['\\', '|'])
}

#[test]
fn commands_and_their_outputs_are_found() {
    let document = "Text.\n```sh\n# comment\na   # why\nb \\\n  c\n(d\n e) |\n  f\n```\n\n```json\n{}\n```\n\
                    ```yaml\nx: y\n```\n```console\n$ g\n1\n2\n$ h \\\n  i\n```\n";
    let blocks = parse(document);
    let commands: Vec<_> = blocks.iter().flat_map(|block| &block.commands).collect();
    let texts: Vec<_> = commands.iter().map(|command| command.text.as_str()).collect();
    assert_eq!(texts, ["a   # why", "b \\\n  c", "(d\n e) |\n  f", "g", "h \\\n  i"]);
    let outputs: Vec<_> = commands.iter().map(|command| command.output.as_deref()).collect();
    assert_eq!(outputs, [None, None, Some("{}"), Some("1\n2\n"), Some("")]);
    assert_eq!((commands[0].key(), commands[0].line, blocks.len()), ("a", 4, 2));
}
