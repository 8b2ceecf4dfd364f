use std::{
    fs::{File, OpenOptions},
    io::Write,
    sync::Arc,
};

use super::{Channel, ChannelError, ChannelFolder, io_error, names::minute_stamp, timestamp};
use crate::observe::WallTime;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// How it goes.
    Info,
    /// Something went wrong; the run goes on.
    Error,
    /// The run itself: its start and its end.
    System,
}

impl Level {
    fn code(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Error => "ERR",
            Self::System => "SYS",
        }
    }
}

/// The log of a run: lines `time<TAB>INFO|ERR|SYS<TAB>message`, times in UTC.
pub struct RunLog {
    file: File,
    clock: Arc<dyn Fn() -> WallTime + Send + Sync>,
}

impl RunLog {
    /// Begins `logs/CHANNEL_STAGE_log_YYYYMMDDhhmm.txt`, or goes on with it.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn create(
        folder: &ChannelFolder,
        channel: &Channel,
        stage: &str,
        clock: Arc<dyn Fn() -> WallTime + Send + Sync>,
    ) -> Result<Self, ChannelError> {
        let minute = minute_stamp(clock());
        let name = format!("logs/{}_{stage}_log_{minute}.txt", channel.as_str());
        let path = folder.part(&name);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        Ok(Self {
            file: file.map_err(io_error(&path))?,
            clock,
        })
    }

    /// Writes a line to the log, and returns it. A full disk keeps no run from going on.
    pub fn line(&mut self, level: Level, message: &str) -> String {
        let line = format!("{}\t{}\t{message}", timestamp((self.clock)()), level.code());
        let _ = writeln!(self.file, "{line}");
        line
    }
}
