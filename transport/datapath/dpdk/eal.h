// DPDK's environment, started once in a process that is not ours.
// Knows: EAL's arguments, its log.  Never: ports, packets.
//
// EAL takes what it is given: it pins the thread that starts it, starts threads
// with that one's signal mask, and prints. So the thread's cores and signals
// are put back, and what it has to say is kept instead.
#pragma once

#include <string>

namespace hawser {

// As DpdkModule::start. What the arguments do not say: --in-memory, so that
// processes do not meet and leave nothing behind; one lcore; no telemetry.
bool StartEal(const std::string& arguments, std::string* error);

// "; to mend it: ..." for what these words complain of; or empty.
std::string Mend(const std::string& words);

// The end of what DPDK had to say lately, one line.
std::string LastWords();

}  // namespace hawser
