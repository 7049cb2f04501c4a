//! Flag values whose errors are reported together.
//!
//! clap stops at the first value that does not parse. A [`Parsed`] value always parses, and
//! its error is reported by [`Problems::take`](super::Problems::take):
//!
//! ```
//! use headcount::cli::{Failure, Parsed, Problems};
//!
//! struct Args {
//!     http_addr: Parsed<std::net::SocketAddr>,
//!     retention: Parsed<humantime::Duration>,
//! }
//!
//! # fn check(args: Args, mut problems: Problems) -> Result<(), Failure> {
//! let http_addr = problems.take("http-addr", args.http_addr);
//! let retention = problems.take("retention", args.retention);
//! let (Some(http_addr), Some(retention)) = (http_addr, retention) else {
//!     return Err(problems.into());
//! };
//! problems.finish()?; // the problems found elsewhere, such as in the file
//! # Ok(())
//! # }
//! ```

use std::{
    any::Any,
    convert::Infallible,
    ffi::OsStr,
    fmt::Display,
    marker::PhantomData,
    net::AddrParseError,
    num::{IntErrorKind, ParseIntError},
    str::FromStr,
};

use clap::{
    Arg, Command, ValueEnum,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};

/// A value, or a text that is not valid and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<T>(Result<T, (String, String)>);

impl<T> Parsed<T> {
    /// Returns the value.
    ///
    /// # Errors
    ///
    /// The invalid text and the reason.
    pub fn into_result(self) -> Result<T, (String, String)> {
        self.0
    }
}

impl<T: FromStr<Err: Display + 'static>> FromStr for Parsed<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse().map_err(|problem: T::Err| (text.to_owned(), rule(&problem)))))
    }
}

/// The rule that a value breaks. The messages of the standard library describe Rust's types.
fn rule<E: Display + 'static>(problem: &E) -> String {
    let any: &dyn Any = problem;
    if any.is::<AddrParseError>() {
        return "must be an IP address and a port".to_owned();
    }
    let Some(number) = any.downcast_ref::<ParseIntError>() else { return problem.to_string() };
    match number.kind() {
        IntErrorKind::Zero => "must be at least 1",
        IntErrorKind::PosOverflow => "is too large",
        IntErrorKind::NegOverflow => "must not be negative",
        _ => "must be a whole number",
    }
    .to_owned()
}

/// A clap value parser for an enum. It never fails, and still lists the possible values in
/// help and completions:
/// `#[arg(long, value_parser = choice::<Format>())] output: Parsed<Format>`.
pub fn choice<T: ValueEnum + Clone + Send + Sync + 'static>() -> impl TypedValueParser<Value = Parsed<T>> {
    Choice(PhantomData)
}

struct Choice<T>(PhantomData<fn() -> T>);

impl<T> Clone for Choice<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for Choice<T> {
    type Value = Parsed<T>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Parsed<T>, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        Ok(Parsed(T::from_str(&text, false).map_err(|_| {
            let names: Vec<_> = values::<T>().map(|value| value.get_name().to_owned()).collect();
            (text, format!("must be one of {}", names.join(", ")))
        })))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(values::<T>()))
    }
}

fn values<T: ValueEnum + 'static>() -> impl Iterator<Item = PossibleValue> {
    T::value_variants().iter().filter_map(ValueEnum::to_possible_value)
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, num::NonZeroU32};

    use super::*;

    fn problem<T: FromStr<Err: Display + 'static>>(text: &str) -> String {
        match text.parse::<Parsed<T>>().map(Parsed::into_result) {
            Ok(Err((_, problem))) => problem,
            _ => panic!("{text} is valid"),
        }
    }

    #[test]
    fn problems_are_in_the_words_of_the_user() {
        assert_eq!(problem::<NonZeroU32>("0"), "must be at least 1");
        assert_eq!(problem::<NonZeroU32>("ten"), "must be a whole number");
        assert_eq!(problem::<NonZeroU32>(""), "must be a whole number");
        assert_eq!(problem::<NonZeroU32>("4294967296"), "is too large");
        assert_eq!(problem::<i8>("-129"), "must not be negative");
        assert_eq!(problem::<SocketAddr>("7100"), "must be an IP address and a port");
    }
}
