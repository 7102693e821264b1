//! A full disk: for the state file, and for the log.

use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{
    Client, Distributor, Folder, Program, distributor_command, skip_or_require, wait_until,
};
use crate::{note, scale};

/// A small file system. Unmounted when dropped.
struct SmallDisk(String);

impl SmallDisk {
    fn mount(at: String) -> Result<SmallDisk, String> {
        fs::create_dir(&at).unwrap();
        let mut command = Command::new("mount");
        let output = command
            .args(["-t", "tmpfs", "-o", "size=256k", "pilcrow-chaos", &at])
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(SmallDisk(at))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn serves_on_a_full_disk_and_writes_the_list_when_it_has_room() {
    let folder = Folder::new();
    let disk = match SmallDisk::mount(folder.join("disk")) {
        Ok(disk) => disk,
        Err(why) => return skip_or_require("mount", &format!("no small file system: {why}")),
    };
    let (state, filler) = (format!("{}/state", disk.0), format!("{}/filler", disk.0));
    for round in 0..scale(1, 3) {
        let mut distributor = Distributor::start(&["--state", &state]);
        let early = distributor.join("early", 1);
        wait_until("the list on disk", || {
            fs::read_to_string(&state).is_ok_and(|saved| saved.contains("early"))
        });
        let _ = fs::write(&filler, vec![b'x'; 1 << 20]);
        let late: Vec<Client> = (0..20)
            .map(|number| distributor.join(&format!("late{number}"), 1))
            .collect();
        distributor.program.wait_for_log(&["WARN", "state"]);
        distributor.assert_serves();
        let saved = fs::read_to_string(&state).unwrap();
        assert!(saved.contains("early"), "the old file is not torn");
        fs::remove_file(&filler).unwrap();
        wait_until("all on disk", || {
            fs::read_to_string(&state).is_ok_and(|saved| saved.lines().skip(2).count() == 21)
        });
        distributor.program.kill();
        let next = Distributor::start(&["--state", &state]);
        let list = Client::connect(next.addr).next_list();
        assert_eq!(list.len(), 21, "{list:?}");
        drop((early, late, next));
        fs::remove_file(&state).unwrap();
        note(format_args!(
            "round {round}: the disk was full, and the list was written after that"
        ));
    }
}

#[test]
fn serves_without_room_for_the_log() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return skip_or_require("devfull", "this machine has no /dev/full");
    };
    let mut command = distributor_command(&["--listen", "127.0.0.1:0"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(full);
    let mut program = Program::start_as_is(&mut command);
    let addr = program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ")?.parse().ok()
    });
    let mut distributor = Distributor { program, addr };
    for number in 0..scale(50, 2000) {
        let mut client = distributor.join(&format!("n{number}"), 1);
        client.send_raw("nonsense¶".as_bytes());
        assert_eq!(client.next_errorcode(), 3);
    }
    distributor.assert_serves();
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
    note("the log was full, and all were served");
}
