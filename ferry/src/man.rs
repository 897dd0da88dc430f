//! Man pages of every command, generated from what the command line knows of itself: they cannot say anything else than
//! `--help` does.

use std::io;
use std::path::PathBuf;

use clap_mangen::Man as Page;
use serde_json::json;
use spool::disk::Disk;

use crate::words::{Voice, say};

/// What stops it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManError {
    /// A page cannot be written.
    #[error("writing {}: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// `ferry man`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Man {
    /// The folder that gets ferry.1, ferry-export.1 and so on
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

impl Man {
    /// Writes them.
    pub(crate) fn run(&self, voice: Voice, mut ferry: clap::Command) -> Result<(), ManError> {
        let disk = Disk::real();
        let failed = |path: &PathBuf, cause| ManError::Write { path: path.clone(), cause };
        disk.create_dir_all(&self.folder).map_err(|cause| failed(&self.folder, cause))?;
        ferry.build();
        let mut written = Vec::new();
        let mut commands = vec![ferry];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned());
            let page = Page::new(command).manual("三闸 Trilock");
            let path = self.folder.join(page.get_filename());
            let mut text = Vec::new();
            let made = page.render(&mut text).and_then(|()| disk.write(&path, &text));
            made.map_err(|cause| failed(&path, cause))?;
            written.push(path);
        }
        let (count, folder) = (written.len(), self.folder.display());
        voice.object(&json!({ "folder": self.folder, "pages": count }));
        voice.line(&say!(voice.language, "{count} man pages in {folder}", "{folder} 中有 {count} 个手册页"));
        Ok(())
    }
}
