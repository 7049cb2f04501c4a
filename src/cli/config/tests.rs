use std::{io::Write as _, net::SocketAddr};

use clap::{ArgAction, Args, CommandFactory, Subcommand, ValueEnum};
use tempfile::NamedTempFile;

use super::*;
use crate::cli::{Parsed, choice};

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
    demo: Parsed<bool>,
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
    let (demo, problems) = parse::<Demo>(args.map(OsString::from))?;
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
    let command =
        each_flag(Demo::command(), &mut |flag, long| with_sources(flag, long, &ConfigFile::default()));
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
    assert!(value(&serve.demo));
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
        "--grpc-addr: \"nowhere\": invalid socket address syntax (for example 127.0.0.1:7100)".to_owned(),
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
    assert!(report.contains("CARGO_PKG_NAME: \"headcount\": invalid digit"), "{report}");
}

#[test]
fn an_unreadable_file_is_a_problem() {
    let (_, problems) = parse::<Demo>(["demo", "--config", "/no/such", "other"].map(OsString::from)).unwrap();
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
