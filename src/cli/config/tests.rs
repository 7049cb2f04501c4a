use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args, CommandFactory, Subcommand, ValueEnum};
use tempfile::NamedTempFile;

use super::*;
use crate::cli::{Cli, Parsed, args::switch::Switch, choice};

/// A command line with one flag of each kind.
#[derive(Parser, Debug)]
struct Demo {
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: DemoCommand,
}

#[derive(Subcommand, Debug)]
enum DemoCommand {
    Serve(Box<Serve>),
    Other(Other),
}

#[derive(Args, Debug)]
struct Serve {
    #[arg(long, default_value = "127.0.0.1:7100")]
    grpc_addr: Parsed<SocketAddr>,
    #[arg(long, default_value = "15m")]
    retention: Parsed<humantime::Duration>,
    #[arg(long)]
    limit: Option<Parsed<u32>>,
    #[arg(long, action = ArgAction::SetTrue)]
    demo: Parsed<Switch>,
    #[arg(long, value_enum, value_parser = choice::<Color>(), default_value = "red")]
    color: Parsed<Color>,
    #[arg(long, value_delimiter = ',')]
    workload_labels: Vec<String>,
    #[arg(long)]
    token: String,
    /// cargo sets this variable for every test, so the test of precedence need not change
    /// the environment of this process.
    #[arg(long, env = "CARGO_PKG_NAME", default_value = "by default")]
    package: String,
}

#[derive(Args, Debug)]
struct Other {
    #[arg(long)]
    retention: Option<String>,
}

#[derive(ValueEnum, Debug, Clone, PartialEq)]
enum Color {
    Red,
    Blue,
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn read(file: Option<&NamedTempFile>, args: &[&str]) -> Result<(Serve, Problems), Failure> {
    let config = file.map(|file| format!("--config={}", file.path().display()));
    let args = ["demo", "serve"].into_iter().chain(args.iter().copied()).chain(config.as_deref());
    let (demo, problems) = Sources::read::<Demo>(args.map(OsString::from)).parse::<Demo>()?;
    match demo.command {
        DemoCommand::Serve(serve) => Ok((*serve, problems)),
        DemoCommand::Other(_) => unreachable!(),
    }
}

fn value<T: Clone>(parsed: &Parsed<T>) -> T {
    parsed.clone().into_result().unwrap_or_else(|(value, problem)| panic!("{value}: {problem}"))
}

#[test]
fn variable_and_key_derive_from_the_flag() {
    assert_eq!(variable("grpc-addr"), "HEADCOUNT_GRPC_ADDR");
    assert_eq!(key("grpc-addr"), "grpcAddr");
    assert_eq!(key("server"), "server");
    assert_eq!(key("workload-labels"), "runtime.kubernetes.workloadLabels");
    let command = each_flag(Demo::command(), &mut |flag, long| {
        with_sources(flag, long, &ConfigFile::default(), |_| false)
    });
    let serve = command.find_subcommand("serve").unwrap();
    let variables: Vec<_> =
        serve.get_arguments().filter_map(|arg| arg.get_env().and_then(OsStr::to_str)).collect();
    assert!(variables.contains(&"HEADCOUNT_GRPC_ADDR"), "{variables:?}");
}

#[test]
fn flag_precedes_variable_precedes_file_precedes_default() {
    let file = file("package: by file\ngrpcAddr: 127.0.0.1:2\ntoken: t\n");

    let (serve, _) = read(Some(&file), &["--package", "by flag"]).unwrap();
    assert_eq!(serve.package, "by flag");
    let (serve, _) = read(Some(&file), &[]).unwrap();
    assert_eq!(serve.package, "headcount", "from the environment");

    assert_eq!(value(&serve.grpc_addr).port(), 2, "from the file");
    let (serve, _) = read(Some(&file), &["--grpc-addr=127.0.0.1:3"]).unwrap();
    assert_eq!(value(&serve.grpc_addr).port(), 3, "from the flag");
    let (serve, _) = read(None, &["--token=t"]).unwrap();
    assert_eq!(value(&serve.grpc_addr).port(), 7100, "the default");
}

#[test]
fn a_file_can_set_every_kind_of_flag() {
    let file = file(
        "token: secret\nlimit: 7\ndemo: true\ncolor: blue\nretention: 1h\n\
         runtime:\n  kubernetes:\n    workloadLabels: [app, run]\n",
    );
    let (serve, problems) = read(Some(&file), &[]).unwrap();
    problems.finish().unwrap();
    assert_eq!(serve.token, "secret", "the file satisfies a required flag");
    assert_eq!(serve.limit.as_ref().map(value), Some(7));
    assert_eq!(value(&serve.demo), Switch(true));
    assert_eq!(value(&serve.color), Color::Blue);
    assert_eq!(value(&serve.retention).as_secs(), 3600);
    assert_eq!(serve.workload_labels, ["app", "run"]);
}

#[test]
fn all_problems_are_reported_together() {
    let file = file("gprcAddr: x\nretention: 10\ncolor: green\nzzz: {deep: 1}\ndemo: [1, 2]\nlimit:\n");
    let (serve, mut problems) = read(Some(&file), &["--grpc-addr", "nowhere", "--token=t"]).unwrap();
    problems.take("grpc-addr", serve.grpc_addr);
    problems.take("retention", serve.retention);
    problems.take("color", serve.color);
    problems.take_optional("limit", serve.limit);
    let path = file.path().display();
    let report = problems.finish().unwrap_err();
    assert!(matches!(report, Failure::Usage(_)));
    let report = report.to_string();
    for line in [
        "7 problems with the configuration:".to_owned(),
        format!("\"gprcAddr\" in {path}: no flag has this key; did you mean grpcAddr?"),
        format!("\"zzz.deep\" in {path}: no flag has this key; keys are the names of flags in camelCase"),
        format!("\"demo\" in {path}: takes one value, not a list"),
        format!("\"limit\" in {path}: has no value: set one, or remove the key"),
        "--grpc-addr: \"nowhere\": must be an IP address and a port (for example 127.0.0.1:7100)".to_owned(),
        format!(
            "\"retention\" in {path}: \"10\": time unit needed, for example 10sec or 10ms (for example 15m)"
        ),
        format!("\"color\" in {path}: \"green\": must be one of red, blue (for example red)"),
    ] {
        assert!(report.contains(&line), "{line}\n---\n{report}");
    }
}

#[test]
fn a_problem_with_a_variable_names_the_variable() {
    let (_, mut problems) = read(None, &["--token=t"]).unwrap();
    problems.take("package", "headcount".parse::<Parsed<u32>>().unwrap());
    let report = problems.to_string();
    assert!(report.contains("CARGO_PKG_NAME: \"headcount\": must be a whole number"), "{report}");
}

#[test]
fn an_unreadable_file_is_a_problem() {
    let (_, problems) = Sources::read::<Demo>(["demo", "--config", "/no/such", "other"].map(OsString::from))
        .parse::<Demo>()
        .unwrap();
    assert!(problems.to_string().contains("cannot read /no/such: No such file"), "{problems}");
    for text in ["- a\n", "just text\n", "a: {b: [\n"] {
        let file = file(text);
        let (_, problems) = read(Some(&file), &["--token=t"]).unwrap();
        assert!(problems.to_string().contains(&file.path().display().to_string()), "{problems}");
    }
    let (_, problems) = read(Some(&file("# nothing\n")), &["--token=t"]).unwrap();
    problems.finish().unwrap();
}

#[test]
fn a_usage_error_does_not_hide_problems_of_the_file() {
    let file = file("gprcAddr: x\n");
    let report = read(Some(&file), &["--no-such-flag"]).unwrap_err().to_string();
    assert!(report.contains("gprcAddr") && report.contains("--no-such-flag"), "{report}");
}

#[test]
fn help_lists_the_possible_values() {
    let error = read(None, &["--help"]).unwrap_err();
    assert!(error.to_string().contains("[possible values: red, blue]"), "{error}");
}

/// The flags of all commands of the real command line that clap reads from a variable, with the
/// variables.
fn variables(is_empty: impl Fn(&OsStr) -> bool) -> Vec<String> {
    let mut variables = Vec::new();
    let file = ConfigFile::default();
    let command = each_flag(Cli::command(), &mut |flag, long| with_sources(flag, long, &file, &is_empty));
    collect_variables(&command, &mut variables);
    variables
}

fn collect_variables(command: &Command, variables: &mut Vec<String>) {
    for arg in command.get_arguments() {
        let variable = arg.get_env().and_then(OsStr::to_str);
        variables.extend(variable.map(|it| format!("{} {} {it}", command.get_name(), arg.get_id())));
    }
    command.get_subcommands().for_each(|subcommand| collect_variables(subcommand, variables));
}

#[test]
fn no_flag_of_any_command_is_set_by_an_empty_variable() {
    let all = variables(|_| false);
    assert!(all.len() > 100, "{all:?}");
    let none: [&str; 0] = [];
    assert_eq!(variables(|_| true), none);
    for empty in ["HEADCOUNT_PROBE_HOST", "POD_NAME", "HEADCOUNT_LOG"] {
        let expected: Vec<_> = all.iter().filter(|it| !it.ends_with(&format!(" {empty}"))).collect();
        assert!(expected.len() < all.len(), "{empty}");
        assert_eq!(variables(|name| name == empty).iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_empty_text_in_the_file_counts_as_not_set() {
    let file = file("grpcAddr: ''\nlimit: ''\ndemo: ''\ntoken: t\nretention: ' '\n");
    let (serve, mut problems) = read(Some(&file), &[]).unwrap();
    assert_eq!(value(&serve.grpc_addr).port(), 7100);
    assert_eq!((serve.limit, value(&serve.demo)), (None, Switch(false)));
    problems.take("retention", serve.retention);
    assert!(problems.to_string().contains("1 problem"), "{problems}");
    let file = self::file("gprcAddr: ''\ntoken: t\n");
    let (_, problems) = read(Some(&file), &[]).unwrap();
    assert!(problems.to_string().contains("did you mean grpcAddr"), "{problems}");
}

/// They have the names of settings of the agent, which are in the environment of its container.
#[test]
fn filters_have_neither_variable_nor_key() {
    let flags: Vec<_> = variables(|_| false)
        .into_iter()
        .filter(|flag| ["HEADCOUNT_MESH", "HEADCOUNT_WORKLOAD"].iter().any(|name| flag.ends_with(name)))
        .collect();
    assert_eq!(flags, ["agent mesh HEADCOUNT_MESH", "agent workload HEADCOUNT_WORKLOAD"]);
    for command in ["get workloads", "get dataplanes", "wait workload web", "simulate"] {
        let with_file = parsed(command, "mesh: prod\nworkload: web\n");
        assert_eq!(with_file, parsed(command, "\n"), "{command}");
    }
    assert_eq!(parsed("simulate", "namespace: shop\n"), parsed("simulate", "\n"));
    assert_ne!(parsed("get workloads", "namespace: shop\n"), parsed("get workloads", "\n"));
    let report = parsed("get workloads", "selector: a=b\n");
    assert!(report.contains("no flag has this key"), "{report}");
}

/// The result of parsing a real command line with a file of this text.
fn parsed(command: &str, text: &str) -> String {
    let file = file(text);
    let args = format!("headcount {command} --config={}", file.path().display());
    let sources = Sources::read::<Cli>(args.split(' ').map(OsString::from));
    let path = file.path().display().to_string();
    format!("{:?}", sources.parse::<Cli>()).replace(&path, "FILE")
}

#[test]
fn the_format_of_the_log_is_known_before_parsing() {
    let json = file("logFormat: json\n");
    let json = json.path().display();
    for (line, format) in [
        ("serve --log-format json".to_owned(), LogFormat::Json),
        ("agent --no-such-flag --log-format=json".to_owned(), LogFormat::Json),
        (format!("serve --config {json}"), LogFormat::Json),
        (format!("--config {json} agent"), LogFormat::Json),
        (format!("--config={json} simulate"), LogFormat::Json),
        (format!("serve --config {json} --log-format text"), LogFormat::Text),
        (format!("get workloads --config {json}"), LogFormat::Text),
        ("serve --log-format loud".to_owned(), LogFormat::Text),
        ("serve --log-format".to_owned(), LogFormat::Text),
        ("serve -- --log-format json".to_owned(), LogFormat::Text),
        (String::new(), LogFormat::Text),
    ] {
        let args = format!("headcount {line}");
        let sources = Sources::read::<Cli>(args.split_whitespace().map(OsString::from));
        assert_eq!(sources.log_format::<Cli>(), format, "{line}");
    }
}
