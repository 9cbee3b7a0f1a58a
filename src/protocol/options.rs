//! The startup parameter `options`: switches of PostgreSQL's own command line.
//!
//! They are read as `pg_split_opts`, `getopt` and `process_postgres_switches` read them. Each comes
//! down to settings, or to nothing; whether a client may have a setting is decided elsewhere.

use std::iter::Peekable;
use std::str::Chars;

/// What PostgreSQL's `getopt` calls the program that complains.
const PROGRAM: &str = "postgres";

/// Options that cannot be read, in PostgreSQL's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error("invalid command-line argument for server process: {0}")]
    Argument(String),
    #[error("{0} requires a value")]
    Value(String),
}

/// What a switch comes down to.
#[derive(Debug, Clone, Copy)]
enum Switch {
    /// Only a server that is being started listens to it.
    Idle,
    IdleWithValue,
    Fixed(&'static str, &'static str),
    Named(&'static str),
    /// `-c name=value` and `--name=value`
    Assignment(&'static str),
    Debug,
    Plan,
    Statistics,
}

/// The settings that a text of options asks for, by lower-case name, in its order.
pub fn read(options: &str) -> Result<Vec<(String, String)>, OptionError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    let mut before = PROGRAM.to_owned();
    let mut stray = None;
    while let Some(mut word) = words.next() {
        if word == "--" {
            stray = stray.or_else(|| words.next());
            break;
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            stray.get_or_insert(word);
            continue;
        };
        let mut letters = letters.chars();
        let mut value = None;
        while let Some(letter) = letters.next() {
            let is_last = letters.as_str().is_empty();
            let Some(switch) = Switch::of(letter) else {
                // getopt has not gone on to the next word yet when it finds a bad letter.
                return Err(OptionError::Argument(if is_last { word } else { before }));
            };
            if !switch.takes_value() {
                settings.extend(switch.settings("").unwrap_or_default());
                continue;
            }
            let rest = letters.as_str().to_owned();
            let given = if is_last { words.next() } else { None };
            let Some(text) = given.clone().or((!is_last).then_some(rest)) else {
                return Err(OptionError::Argument(word));
            };
            if let Switch::Assignment(dashes) = switch {
                settings.push(assignment(dashes, &text)?);
            } else {
                let Some(more) = switch.settings(&text) else {
                    return Err(OptionError::Argument(given.unwrap_or(word)));
                };
                settings.extend(more);
            }
            value = given;
            break;
        }
        if let Some(value) = value {
            word = value;
        }
        before = word;
    }
    stray.map_or(Ok(settings), |stray| Err(OptionError::Argument(stray)))
}

/// PostgreSQL's `ParseLongOption`: a dash in the name stands for an underscore.
fn assignment(dashes: &str, text: &str) -> Result<(String, String), OptionError> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| OptionError::Value(format!("{dashes}{text}")))?;
    Ok((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()))
}

impl Switch {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'B' => Self::Named("shared_buffers"),
            'C' | 'D' | 'r' | 'v' => Self::IdleWithValue,
            'E' | 'T' | 'b' | 'j' | 'n' => Self::Idle,
            'F' => Self::Fixed("fsync", "false"),
            'N' => Self::Named("max_connections"),
            'O' => Self::Fixed("allow_system_table_mods", "true"),
            'P' => Self::Fixed("ignore_system_indexes", "true"),
            'S' => Self::Named("work_mem"),
            'W' => Self::Named("post_auth_delay"),
            'c' => Self::Assignment("-c "),
            '-' => Self::Assignment("--"),
            'd' => Self::Debug,
            'e' => Self::Fixed("datestyle", "euro"),
            'f' => Self::Plan,
            'h' => Self::Named("listen_addresses"),
            'i' => Self::Fixed("listen_addresses", "*"),
            'k' => Self::Named("unix_socket_directories"),
            'l' => Self::Fixed("ssl", "true"),
            'p' => Self::Named("port"),
            's' => Self::Fixed("log_statement_stats", "true"),
            't' => Self::Statistics,
            _ => return None,
        })
    }

    fn takes_value(self) -> bool {
        !matches!(self, Self::Idle | Self::Fixed(..))
    }

    /// `None` when the value is none of those that the switch knows.
    fn settings(self, value: &str) -> Option<Vec<(String, String)>> {
        let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        Some(match self {
            Self::Idle | Self::IdleWithValue => Vec::new(),
            Self::Assignment(dashes) => vec![assignment(dashes, value).ok()?],
            Self::Fixed(name, fixed) => set(name, fixed),
            Self::Named(name) => set(name, value),
            Self::Debug => debug(leading_number(value)),
            Self::Plan => set(plan(value)?, "false"),
            Self::Statistics => set(statistics(value)?, "true"),
        })
    }
}

/// PostgreSQL's `set_debug_options`.
fn debug(level: u32) -> Vec<(String, String)> {
    let messages = if level == 0 { "notice".to_owned() } else { format!("debug{level}") };
    let more = [
        (2, "log_statement", "all"),
        (3, "debug_print_parse", "true"),
        (4, "debug_print_plan", "true"),
        (5, "debug_print_rewritten", "true"),
    ];
    let more = more.into_iter().filter(|(from, ..)| *from <= level);
    let more = more.map(|(_, name, value)| (name.to_owned(), value.to_owned()));
    [("log_min_messages".to_owned(), messages)].into_iter().chain(more).collect()
}

/// C's `atoi`, as far as it matters.
fn leading_number(text: &str) -> u32 {
    let digits = text.trim_start().trim_start_matches('+');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// PostgreSQL's `set_plan_disabling_options`.
fn plan(value: &str) -> Option<&'static str> {
    Some(match value.chars().next()? {
        'b' => "enable_bitmapscan",
        'h' => "enable_hashjoin",
        'i' => "enable_indexscan",
        'm' => "enable_mergejoin",
        'n' => "enable_nestloop",
        'o' => "enable_indexonlyscan",
        's' => "enable_seqscan",
        't' => "enable_tidscan",
        _ => return None,
    })
}

/// PostgreSQL's `get_stats_option_name`.
fn statistics(value: &str) -> Option<&'static str> {
    match value.as_bytes() {
        [b'p', b'a', ..] => Some("log_parser_stats"),
        [b'p', b'l', ..] => Some("log_planner_stats"),
        [b'e', ..] => Some("log_executor_stats"),
        _ => None,
    }
}

/// PostgreSQL's `pg_split_opts`: white space parts, a backslash takes the next character as it is.
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = options.chars().peekable();
    loop {
        while letters.next_if(|&letter| is_space(letter)).is_some() {}
        if letters.peek().is_none() {
            return words;
        }
        words.push(word(&mut letters));
    }
}

fn word(letters: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|&letter| !is_space(letter)) {
        match letter {
            '\\' => word.extend(letters.next()),
            other => word.push(other),
        }
    }
    word
}

/// C's `isspace`, which knows the vertical tab, too.
fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\x0b'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &str, expected: &str) {
        let told = match read(options) {
            Ok(settings) => {
                let settings = settings.iter().map(|(name, value)| format!("{name}={value}"));
                settings.collect::<Vec<_>>().join(" | ")
            }
            Err(error) => format!("! {error}"),
        };
        assert_eq!(told, expected, "{options}");
    }

    #[test]
    fn settings() {
        check("", "");
        check(&" ".repeat(9_000), "");
        check("-c search_path=a", "search_path=a");
        check("-csearch_path=a --Statement-Timeout=5", "search_path=a | statement_timeout=5");
        check(r"-c x.y=a\ b\\c\d", r"x.y=a b\cd");
        check("-c x=y\\", "x=y");
        check("-c\u{b}a=b\t-c\na=", "a=b | a=");
        check("-c a=b=c", "a=b=c");
        check("-c =x", "=x");
        check("-c=", "=");
        check(
            "-e -S 77 -S78 -fh",
            "datestyle=euro | work_mem=77 | work_mem=78 | enable_hashjoin=false",
        );
        check("-nTeS 77", "datestyle=euro | work_mem=77");
        check("-d 3x", "log_min_messages=debug3 | log_statement=all | debug_print_parse=true");
        check("-d x -tpl", "log_min_messages=notice | log_planner_stats=true");
        check("-D /tmp -r file -v 2 -C work_mem", "");
        check("-e --", "datestyle=euro");
    }

    #[test]
    fn words() {
        let argument = |word| format!("! invalid command-line argument for server process: {word}");
        check("-c", &argument("-c"));
        check("-e -x", &argument("-x"));
        check("-xe", &argument("postgres"));
        check("-e -ex", &argument("-ex"));
        check("-S 7 -xe", &argument("7"));
        check("foo -c a=b bar", &argument("foo"));
        check("-e -- -c", &argument("-c"));
        check("-", &argument("-"));
        check("-f q", &argument("q"));
        check("-fq", &argument("-fq"));
        check("-tx", &argument("-tx"));
        check("-c a", "! -c a requires a value");
        check("--a", "! --a requires a value");
    }
}
