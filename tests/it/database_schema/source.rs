//! The texts in the program's source: every string literal outside tests, as the compiler would read it, and what is
//! handed to sqlx. So no list of statements is kept anywhere that could be forgotten.

use std::path::{Path, PathBuf};

/// The crates' sources.
const FOLDERS: [&str; 4] = ["src", "events/src", "projections/src", "consumers/src"];

/// A string literal.
#[derive(Debug)]
pub struct Literal {
    /// `file:line`
    pub place: String,
    pub text: String,
    /// Whether it is a part of a `concat!`.
    pub part: bool,
}

/// All files of the crates with this ending, and what is in them, without unit tests.
pub fn files(ending: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.extend((name != "tests").then_some(path));
            } else if name.ends_with(ending) && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                let shown = path.strip_prefix(root).unwrap().display().to_string();
                found.push((shown, program));
            }
        }
    }
    assert!(found.len() > 10, "the sources are where they are looked for");
    found
}

/// Every string literal of the crates.
pub fn literals() -> Vec<Literal> {
    let read = |(name, text): (String, String)| Scanner::new(&name, &text).run();
    files(".rs").into_iter().flat_map(read).collect()
}

/// What is handed to sqlx as a statement, as it stands in the source: `(place, argument)`.
pub fn statement_arguments() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, text) in files(".rs") {
        for call in [
            "query(",
            "query_as(",
            "query_scalar(",
            "query_as::<",
            "query_scalar::<",
            "raw_sql(",
        ] {
            for (at, _) in text.match_indices(&format!("sqlx::{call}")) {
                let mut rest = &text[at + "sqlx::".len() + call.len()..];
                if call.ends_with('<') {
                    rest = rest.split_once(">(").unwrap().1;
                }
                let argument = rest.trim_start();
                let end = argument.find([')', ',', ' ', '\n']).unwrap_or(argument.len());
                let line = text[..at].lines().count();
                found.push((format!("{name}:{line}"), argument[..end].to_owned()));
            }
        }
    }
    found
}

struct Scanner<'a> {
    name: &'a str,
    chars: Vec<char>,
    at: usize,
    line: usize,
    /// For each open parenthesis, whether it is a `concat!`'s.
    open: Vec<bool>,
    found: Vec<Literal>,
}

impl<'a> Scanner<'a> {
    fn new(name: &'a str, text: &str) -> Self {
        let chars = text.chars().collect();
        let (open, found) = (Vec::new(), Vec::new());
        Self {
            name,
            chars,
            at: 0,
            line: 1,
            open,
            found,
        }
    }

    fn run(mut self) -> Vec<Literal> {
        while self.at < self.chars.len() {
            match (self.chars[self.at], self.peek(1)) {
                ('/', Some('/')) => self.skip_to(|scanner| scanner.chars[scanner.at] == '\n'),
                ('/', Some('*')) => self.skip_to(|scanner| scanner.text_at("*/")),
                ('"', _) => self.literal(),
                ('r', Some('"' | '#')) if self.text_at("r\"") || self.text_at("r#\"") => self.raw_literal(),
                ('\'', _) => self.quote(),
                ('(', _) => {
                    let before: String = self.chars[self.at.saturating_sub(7)..self.at].iter().collect();
                    self.open.push(before == "concat!");
                    self.step();
                }
                (')', _) => {
                    self.open.pop();
                    self.step();
                }
                _ => self.step(),
            }
        }
        self.found
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn text_at(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(index, c)| self.peek(index) == Some(c))
    }

    fn step(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_to(&mut self, end: impl Fn(&Self) -> bool) {
        while self.at < self.chars.len() && !end(self) {
            self.step();
        }
    }

    /// A character, or the beginning of a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.at += 3;
            self.skip_to(|scanner| scanner.peek(0) == Some('\''));
        } else if self.peek(2) == Some('\'') {
            self.at += 2;
        }
        self.step();
    }

    fn keep(&mut self, line: usize, text: String) {
        self.found.push(Literal {
            place: format!("{}:{line}", self.name),
            text,
            part: self.open.last() == Some(&true),
        });
    }

    fn raw_literal(&mut self) {
        let (line, hashed) = (self.line, self.text_at("r#\""));
        self.at += if hashed { 3 } else { 2 };
        let (begin, end) = (self.at, if hashed { "\"#" } else { "\"" });
        self.skip_to(|scanner| scanner.text_at(end));
        let text = self.chars[begin..self.at].iter().collect();
        self.at += end.len();
        self.keep(line, text);
    }

    fn literal(&mut self) {
        let (line, mut text) = (self.line, String::new());
        self.at += 1;
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            if c != '\\' {
                text.push(c);
                self.step();
                continue;
            }
            self.at += 1;
            match self.peek(0) {
                // A continued line begins at its first letter.
                Some('\n') => self.skip_to(|scanner| scanner.peek(0).is_none_or(|c| !c.is_whitespace())),
                Some(escaped) => {
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                    self.step();
                }
                None => {}
            }
        }
        self.at += 1;
        self.keep(line, text);
    }
}

#[test]
fn literals_are_read_as_the_compiler_reads_them() {
    let text = "// \"no\"\nlet c = '\"'; fn f<'a>() {} const A: &str = \"SELECT 1 \\\n    FROM t\"; concat!(\"a\\\"\", r#\"b\"c\"#)";
    let found = Scanner::new("x", text).run();
    let read: Vec<_> = found
        .iter()
        .map(|literal| (literal.text.as_str(), literal.part))
        .collect();
    assert_eq!(read, [("SELECT 1 FROM t", false), ("a\"", true), ("b\"c", true)]);
    assert_eq!(found[0].place, "x:2");
}
