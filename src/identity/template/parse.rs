//! Parses a template with gotmpl's parser, and accepts the part of the language that has one reading for
//! every dataplane.

use gotmpl::{
    TemplateError,
    parse::{CommandNode, Expr, Node, Parser, PipeNode, Pos},
};

use super::{Part, Scope};
use crate::model::{LabelKey, Quoted};

/// The longest template in bytes: longer than any SPIFFE ID.
const MAX_BYTES: usize = 4_096;
/// The most actions of a template. The parser recurses for each `{{else if}}`, without a limit of its own.
const MAX_ACTIONS: usize = 64;

pub(super) fn parse(source: &str, scope: Scope) -> Result<Vec<Part>, String> {
    if source.len() > MAX_BYTES {
        return Err(format!("template: :1: is longer than {MAX_BYTES} bytes"));
    }
    if source.matches("{{").count() > MAX_ACTIONS {
        return Err(format!("template: :1: has more than {MAX_ACTIONS} actions"));
    }
    let tree = Parser::new(source, "{{", "}}").and_then(Parser::parse).map_err(|error| match error {
        // Go's positions of syntax errors have no column.
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: :{line}: {}", bounded(&message))
        }
        other => bounded(&other.to_string()),
    });
    let (list, defines) = tree?;
    let walk = Walk { source, scope };
    if let Some(define) = defines.into_iter().next() {
        return Err(walk.control(&Node::Define(define)));
    }
    if !is_complete(source, list.nodes.len()) {
        return Err("template: : unexpected {{end}} or {{else}}".to_owned());
    }
    let mut parts = Vec::new();
    for node in &list.nodes {
        match node {
            Node::Text(text) => parts.push(Part::Text((*text.text).into())),
            Node::Action(action) => parts.extend(walk.pipe(&action.pipe)?),
            other => return Err(walk.control(other)),
        }
    }
    Ok(parts)
}

/// The beginning of a text that quotes the template, without control characters.
fn bounded(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether the parser has read all of a template: it stops at an `{{end}}` that ends nothing, without an error.
fn is_complete(source: &str, nodes: usize) -> bool {
    let with_another = format!("{source}{{{{0}}}}");
    let tree = Parser::new(&with_another, "{{", "}}").and_then(Parser::parse);
    tree.is_ok_and(|(list, _)| list.nodes.len() == nodes + 1)
}

struct Walk<'a> {
    source: &'a str,
    scope: Scope,
}

impl Walk<'_> {
    /// The value of a pipe: that of its last command, whose last argument is the value of the others.
    fn pipe(&self, pipe: &PipeNode) -> Result<Vec<Part>, String> {
        if !pipe.decl.is_empty() {
            return Err(self.refuse(pipe.pos, "variables are not supported"));
        }
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, piped)?);
        }
        piped.ok_or_else(|| self.refuse(pipe.pos, "missing value for command"))
    }

    fn command(&self, command: &CommandNode, piped: Option<Vec<Part>>) -> Result<Vec<Part>, String> {
        let Some((first, arguments)) = command.args.split_first() else {
            return Err(self.refuse(command.pos, "missing value for command"));
        };
        let Expr::Identifier(pos, function) = first else {
            if piped.is_some() || !arguments.is_empty() {
                return Err(self.refuse(first.pos(), "can't give argument to non-function"));
            }
            return self.operand(first);
        };
        let values = || {
            let values = arguments.iter().map(|expr| self.operand(expr)).chain(piped.map(Ok));
            values.collect::<Result<Vec<_>, String>>()
        };
        match function.as_str() {
            "label" => self.label(*pos, &values()?),
            "print" => Ok(values()?.concat()),
            "printf" => self.printf(*pos, values()?),
            "html" | "js" | "urlquery" | "println" | "len" | "index" | "slice" | "and" | "or" | "not"
            | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "call" => {
                Err(self
                    .refuse(*pos, &format!("function {} is not supported: {SUPPORTED}", Quoted(function))))
            }
            _ => {
                let line = self.position(*pos).0;
                Err(format!("template: :{line}: function {} not defined", Quoted(function)))
            }
        }
    }

    /// The value of an argument, or of a command that is no function.
    fn operand(&self, expr: &Expr) -> Result<Vec<Part>, String> {
        match expr {
            Expr::String(_, text) => Ok(vec![Part::Text((**text).into())]),
            Expr::Field(pos, names) => {
                let fields = self.scope.fields();
                let known = |name| fields.iter().find(|field| field.name() == name);
                match names.as_slice() {
                    [name] if let Some(field) = known(name) => Ok(vec![Part::Field(*field)]),
                    _ => {
                        let names = bounded(&names.join("."));
                        let fields: Vec<_> =
                            fields.iter().map(|field| format!(".{}", field.name())).collect();
                        let problem =
                            format!("can't evaluate field .{names}: the fields are {}", fields.join(", "));
                        Err(self.refuse(*pos, &problem))
                    }
                }
            }
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            // Go calls a function that is an argument, which then has none itself.
            Expr::Identifier(pos, function) => {
                Err(self.refuse(*pos, &format!("function {} needs arguments", Quoted(function))))
            }
            other => Err(self.refuse(other.pos(), SUPPORTED)),
        }
    }

    fn label(&self, pos: Pos, arguments: &[Vec<Part>]) -> Result<Vec<Part>, String> {
        let [key] = arguments else {
            let problem = format!("wrong number of args for label: want 1 got {}", arguments.len());
            return Err(self.refuse(pos, &problem));
        };
        let Some(key) = constant(key) else {
            return Err(self.refuse(pos, "the key of label must be a string constant, such as \"team\""));
        };
        // No resource has a label with another key.
        let invalid = |problem: String| self.refuse(pos, &format!("label {}: {problem}", Quoted(&key)));
        key.parse::<LabelKey>().map_err(invalid)?;
        Ok(vec![Part::Label(key.into())])
    }

    /// The text of a format with an argument for each `%s` and `%v`.
    fn printf(&self, pos: Pos, mut arguments: Vec<Vec<Part>>) -> Result<Vec<Part>, String> {
        if arguments.is_empty() {
            return Err(self.refuse(pos, "wrong number of args for printf: want at least 1 got 0"));
        }
        let Some(format) = constant(&arguments.remove(0)) else {
            return Err(self.refuse(pos, "the format of printf must be a string constant"));
        };
        let (mut parts, mut text, mut arguments) = (Vec::new(), String::new(), arguments.into_iter());
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            match characters.next() {
                Some('%') => text.push('%'),
                Some('s' | 'v') => {
                    let argument =
                        arguments.next().ok_or_else(|| self.refuse(pos, "printf has too few arguments"))?;
                    parts.push(Part::Text(std::mem::take(&mut text).into()));
                    parts.extend(argument);
                }
                _ => return Err(self.refuse(pos, "printf supports %s, %v and %% only")),
            }
        }
        parts.push(Part::Text(text.into()));
        match arguments.next() {
            None => Ok(parts),
            Some(_) => Err(self.refuse(pos, "printf has too many arguments")),
        }
    }

    fn control(&self, node: &Node) -> String {
        let (pos, name) = match node {
            Node::If(branch) => (branch.pos, "if"),
            Node::Range(branch) => (branch.pos, "range"),
            Node::With(branch) => (branch.pos, "with"),
            Node::Template(template) => (template.pos, "template"),
            Node::Define(define) => (define.pos, "define"),
            Node::Break(pos) => (*pos, "break"),
            Node::Continue(pos) => (*pos, "continue"),
            Node::List(list) => (list.pos, "a list"),
            Node::Text(text) => (text.pos, "text"),
            Node::Action(action) => (action.pos, "an action"),
        };
        self.refuse(pos, &format!("{name} is not supported: {SUPPORTED}"))
    }

    fn refuse(&self, pos: Pos, problem: &str) -> String {
        let (line, column) = self.position(pos);
        format!("template: :{line}:{column}: {problem}")
    }

    /// The line from 1, and the bytes before the position in that line, as in Go's messages.
    fn position(&self, pos: Pos) -> (usize, usize) {
        let before = self.source.get(..pos.offset).unwrap_or(self.source);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.len())
    }
}

const SUPPORTED: &str = "use fields, `label \"key\"`, print, printf and string constants";

/// The text of parts that are constant.
fn constant(parts: &[Part]) -> Option<String> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Field(_) | Part::Label(_) => None,
        })
        .collect()
}
