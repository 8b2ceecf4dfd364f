use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What an extraction writes; nothing else is ever removed.
const OWN: [&str; 4] = ["log", "crops", "tracks.jsonl", "shard.json"];

/// Why a folder cannot take an extraction.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something is there already.
    #[error(
        "{path} is not empty; choose another folder, or --force to replace the extraction in it"
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There are things in it that no extraction wrote.
    #[error("{path} holds {name}, which no extraction wrote; choose another folder")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the things.
        name: String,
    },
    /// It cannot be made, read or emptied.
    #[error("{path}: {why}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// Makes `folder` if it is not there. With `force` an earlier extraction in it is removed.
///
/// # Errors
/// [`FolderError`] when it is not empty (or, with `force`, holds anything else), or the system
/// refuses.
pub fn prepare_folder(folder: &Path, force: bool) -> Result<(), FolderError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |why| FolderError::Io { path, why }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        names.push(entry.map_err(failed(folder))?.file_name());
    }
    if names.is_empty() {
        return Ok(());
    }
    if !force {
        return Err(FolderError::NotEmpty {
            path: folder.to_path_buf(),
        });
    }
    if let Some(name) = names
        .iter()
        .find(|name| !OWN.iter().any(|own| name.as_os_str() == *own))
    {
        let name = name.to_string_lossy().into_owned();
        return Err(FolderError::Foreign {
            path: folder.to_path_buf(),
            name,
        });
    }
    for path in names.iter().map(|name| folder.join(name)) {
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_extraction_is_ever_removed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        prepare_folder(&out, false).unwrap();
        fs::create_dir(out.join("crops")).unwrap();
        fs::write(out.join("tracks.jsonl"), "x").unwrap();
        assert!(matches!(
            prepare_folder(&out, false),
            Err(FolderError::NotEmpty { .. })
        ));
        prepare_folder(&out, true).unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);

        fs::write(out.join("thesis.tex"), "x").unwrap();
        fs::write(out.join("tracks.jsonl"), "x").unwrap();
        assert!(matches!(
            prepare_folder(&out, true),
            Err(FolderError::Foreign { .. })
        ));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    }
}
