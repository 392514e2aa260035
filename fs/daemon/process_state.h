// Whether a process of this machine is on its way out.
//
// A killed process keeps its locks until the last of its I/O has ended; for that long it is there,
// and yet gone. Thread rule: any thread. Place in the stack: below the datastores.
#pragma once

#include <string_view>

#include <sys/types.h>

namespace stratad {

// True for a process that is being killed, is a zombie, or does not exist (proc_pid_stat(5),
// proc_pid_status(5)).
bool IsEnding(pid_t process);

// The same from the texts of these files.
bool SaysEnding(std::string_view stat, std::string_view status);

// The number behind " pid " in a holder's words, "esx1 pid 41"; 0: none.
pid_t ProcessIn(std::string_view address_text);

}  // namespace stratad
