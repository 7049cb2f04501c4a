//! A contexts file is rejected with a short and printable message, or gives contexts that are written and
//! parsed to the same contexts.

use headcount::cli::Contexts;

/// Longest message, in bytes: it quotes at most a path of two names.
const LONGEST_ERROR: usize = 2_048;

/// Input: the text of a file.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match Contexts::parse(text) {
        Ok(contexts) => {
            let written = contexts.to_yaml();
            assert_eq!(Contexts::parse(&written).as_ref(), Ok(&contexts), "{written}");
        }
        Err(problem) => {
            assert!(!problem.is_empty());
            assert!(problem.len() <= LONGEST_ERROR, "{} bytes: {problem:.300}", problem.len());
            assert!(!problem.contains(char::is_control), "a control character in {problem:?}");
        }
    }
}
