//! Tables with commas, as facerec reads them.

use std::{fs::File, io::BufReader, path::Path};

use super::FacerecError;
use crate::table::{Table, TableError};

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
    let file = File::open(path).map_err(FacerecError::io(path))?;
    let picked = || -> Result<_, TableError> {
        let table = Table::new(BufReader::new(file))?;
        let places = names.iter().map(|name| table.column(&[name]));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let rows = table.map(|row| {
            let row = row?;
            let cells = places.iter().map(|at| row.field(*at).map(str::to_owned));
            cells.collect()
        });
        rows.collect()
    };
    picked().map_err(|why| FacerecError::Table {
        path: path.to_owned(),
        why: why.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_may_be_shown_at_another_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aspect_ratios.csv");
        let text = "filename,display_width,display_height\n7-film.mp4,768,576\n8-b.mp4,x,576\n";
        std::fs::write(&path, text).unwrap();
        let size = |file: &str| display_size(&path, Path::new(file));
        assert_eq!(size("films/7-film.mp4").unwrap(), Some((768, 576)));
        assert_eq!(size("films/9-film.mp4").unwrap(), None);
        assert!(size("8-b.mp4").unwrap_err().to_string().contains("no size"));
    }
}
