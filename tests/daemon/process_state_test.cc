// Processes that live, are killed, or are gone.
#include "fs/daemon/process_state.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stratad {
namespace {

TEST(ProcessState, OneThatRunsIsNotEnding) {
  EXPECT_FALSE(IsEnding(getpid()));
}

TEST(ProcessState, AZombieIsEndingAndSoIsOneThatIsGone) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  ASSERT_GT(child, 0);
  EXPECT_FALSE(IsEnding(child));
  kill(child, SIGKILL);
  EXPECT_TRUE(IsEnding(child));
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(IsEnding(child));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(IsEnding(child));
}

TEST(ProcessState, TheTextsOfTheKernelSayIt) {
  constexpr std::string_view kRuns = "41 (a) b) S 1 41 41 0 -1 4194560 7";
  constexpr std::string_view kExits = "41 (a) b) D 1 41 41 0 -1 4194564 7";
  constexpr std::string_view kDead = "41 (a) b) Z 1 41 41 0 -1 4194560 7";
  constexpr std::string_view kQuiet = "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
  constexpr std::string_view kKilled = "SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n";
  constexpr std::string_view kOther = "SigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n";
  EXPECT_FALSE(SaysEnding(kRuns, kQuiet));
  EXPECT_FALSE(SaysEnding(kRuns, kOther));
  EXPECT_TRUE(SaysEnding(kRuns, kKilled));
  EXPECT_TRUE(SaysEnding(kExits, kQuiet));
  EXPECT_TRUE(SaysEnding(kDead, kQuiet));
  EXPECT_TRUE(SaysEnding("", ""));
}

TEST(ProcessState, AHolderNamesItsProcess) {
  EXPECT_EQ(ProcessIn("esx1 pid 41"), 41);
  EXPECT_EQ(ProcessIn("a pid 7 pid 41"), 41);
  EXPECT_EQ(ProcessIn("esx1"), 0);
  EXPECT_EQ(ProcessIn("esx1 pid x"), 0);
}

}  // namespace
}  // namespace stratad
