//! Files of pairs.

use std::path::Path;

use crate::{
    evaluate::EvaluateError,
    table::{Row, Table, TableError},
};

/// Pairs of a kind in a fold, at most.
const PAIRS_MAX: usize = 1 << 32;

/// A line of the file.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) sides: [String; 2],
    pub(super) same: bool,
    pub(super) fold: Option<usize>,
}

/// LFW's file: the number of folds and of pairs of each kind in one; then, fold by fold, those of one
/// person (name, picture, picture) and of two (name, picture, name, picture).
pub(super) fn read_lfw(path: &Path, text: &str) -> Result<Vec<Line>, EvaluateError> {
    let bad = |line: usize, why: &str| EvaluateError::format(path, format!("line {line}: {why}"));
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map_or("", |(_, line)| line);
    let header: Option<Vec<usize>> = header
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let per_fold = match header.as_deref() {
        Some([_, per_fold] | [per_fold]) if (1..=PAIRS_MAX).contains(per_fold) => 2 * per_fold,
        _ => {
            return Err(bad(
                1,
                "neither LFW's pairs.txt (`10 300`) nor a .csv of a,b,same",
            ));
        }
    };
    let mut pairs = Vec::new();
    for (at, line) in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let picture = |person: &str, number: &str| -> Option<String> {
            Some(format!("{person}_{:04}", number.parse::<u32>().ok()?))
        };
        let (sides, same) = match words[..] {
            [person, one, other] => ([picture(person, one), picture(person, other)], true),
            [a, one, b, other] => ([picture(a, one), picture(b, other)], false),
            _ => return Err(bad(at + 1, "three fields or four are wanted")),
        };
        let [Some(one), Some(other)] = sides else {
            return Err(bad(at + 1, "a picture's number is none"));
        };
        pairs.push(Line {
            number: at + 1,
            sides: [one, other],
            same,
            fold: Some(pairs.len() / per_fold),
        });
    }
    Ok(pairs)
}

pub(super) fn read_csv(text: &str) -> Result<Vec<Line>, TableError> {
    let table = Table::new(text.as_bytes())?;
    let a = table.column(&["a", "first", "first name"])?;
    let b = table.column(&["b", "second", "second name"])?;
    let same = table.column(&["same", "is same", "is same person?", "is_same"])?;
    let fold = table.column(&["fold", "split", "split number"]).ok();
    let line = |row: Result<Row, TableError>| {
        let row = row?;
        let same = match row.field(same)?.to_ascii_lowercase().as_str() {
            "1" | "true" | "same" => true,
            "0" | "false" | "different" => false,
            _ => return Err(row.wrong("same is 1 or 0")),
        };
        let fold = fold.map(|column| {
            let fold = row.field(column)?.parse::<usize>();
            fold.map_err(|_| row.wrong("fold is a whole number"))
        });
        Ok(Line {
            number: row.line,
            sides: [row.field(a)?.to_owned(), row.field(b)?.to_owned()],
            same,
            fold: fold.transpose()?,
        })
    };
    table.map(line).collect()
}
