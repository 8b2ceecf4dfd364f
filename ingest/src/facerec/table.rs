//! Tables with commas, as facerec reads them.

use std::{fs, path::Path};

use super::FacerecError;
use crate::table::{Row, Table, TableError};

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

/// These columns of a table, by their names.
pub(super) fn columns(path: &Path, names: &[&str]) -> Result<Vec<Vec<String>>, FacerecError> {
    let text = fs::read_to_string(path).map_err(FacerecError::io(path))?;
    let wrong = |TableError { line, why }| FacerecError::Line {
        path: path.to_owned(),
        line,
        why,
    };
    let table = Table::new(&text).map_err(wrong)?;
    let mut places = Vec::new();
    for name in names {
        places.push(table.column(&[name]).ok_or_else(|| FacerecError::Table {
            path: path.to_owned(),
            why: format!(
                "there is no column {name}; there are {}",
                table.header().join(", ")
            ),
        })?);
    }
    let pick = |row: Result<Row, TableError>| {
        let row = row?;
        let cells = places.iter().map(|at| row.field(*at).map(str::to_owned));
        cells.collect::<Result<Vec<_>, _>>()
    };
    table.map(pick).collect::<Result<_, _>>().map_err(wrong)
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
