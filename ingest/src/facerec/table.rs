//! Tables with commas, as facerec reads them.

use std::{fs, path::Path};

use super::FacerecError;

/// The width and height at which `file` is to be shown, by a table with the columns `filename`,
/// `display_width` and `display_height`; `None` if it is not listed.
///
/// # Errors
/// [`FacerecError`] if there is no such table, or a size is no number.
pub fn display_size(table: &Path, file: &Path) -> Result<Option<(u32, u32)>, FacerecError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let rows = columns(table, &["filename", "display_width", "display_height"])?;
    let Some(row) = rows.iter().find(|row| row[0] == name) else {
        return Ok(None);
    };
    let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| *side > 0);
    match (side(&row[1]), side(&row[2])) {
        (Some(width), Some(height)) => Ok(Some((width, height))),
        _ => Err(FacerecError::Table {
            path: table.to_owned(),
            why: format!("'{}' and '{}' are no size of {name}", row[1], row[2]),
        }),
    }
}

/// These columns of a table with commas and a line of names, by those names.
pub(super) fn columns(path: &Path, names: &[&str]) -> Result<Vec<Vec<String>>, FacerecError> {
    let text = fs::read_to_string(path).map_err(FacerecError::io(path))?;
    let mut rows = records(text.trim_start_matches('\u{feff}')).into_iter();
    let (_, head) = rows.next().unwrap_or_default();
    let mut places = Vec::new();
    for name in names {
        let at = head.iter().position(|column| column == name);
        places.push(at.ok_or_else(|| FacerecError::Table {
            path: path.to_owned(),
            why: format!("there is no column {name}; there are {}", head.join(", ")),
        })?);
    }
    let pick = |(line, row): (usize, Vec<String>)| {
        let cells = places.iter().map(|at| row.get(*at).cloned());
        cells
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| FacerecError::Line {
                path: path.to_owned(),
                line,
                why: format!("{} cells, and the first line has {}", row.len(), head.len()),
            })
    };
    rows.filter(|(_, row)| row.len() > 1 || row.first().is_some_and(|cell| !cell.is_empty()))
        .map(pick)
        .collect()
}

/// Records of a table by RFC 4180, each with the line on which it begins: cells in quotes may hold commas,
/// line feeds and doubled quotes.
fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut records, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut begun) = (false, 1, 1);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                records.push((begun, std::mem::take(&mut row)));
                begun = line + 1;
            }
            other => cell.push(other),
        }
        line += usize::from(character == '\n');
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        records.push((begun, row));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_may_be_shown_at_another_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aspect_ratios.csv");
        let text = "filename,display_width,display_height\n7-film.mp4,768,576\n8-b.mp4,x,576\n";
        fs::write(&path, text).unwrap();
        let size = |file: &str| display_size(&path, Path::new(file));
        assert_eq!(size("films/7-film.mp4").unwrap(), Some((768, 576)));
        assert_eq!(size("films/9-film.mp4").unwrap(), None);
        assert!(size("8-b.mp4").unwrap_err().to_string().contains("no size"));
    }
}
