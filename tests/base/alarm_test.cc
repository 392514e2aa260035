#include "fs/base/alarm.h"

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"

namespace base {
namespace {

Task<void> SleepOnce(Alarm& alarm, Executor& executor, uint64_t duration_us, uint64_t& woke_us) {
  const uint64_t start_us = executor.NowMicroseconds();
  co_await alarm.SleepUntil(start_us + duration_us);
  woke_us = executor.NowMicroseconds() - start_us;
}

TEST(Alarm, SleepsUntilItsTimeWhenNobodyRings) {
  SimExecutor executor(1);
  Alarm alarm(executor);
  uint64_t woke_us = 0;
  RunSync(executor, SleepOnce(alarm, executor, 500, woke_us));
  EXPECT_EQ(woke_us, 500u);
}

Task<void> RingAfter(Alarm& alarm, Executor& executor, uint64_t delay_us, uint64_t& woke_us) {
  TaskGroup group(executor);
  group.Add(SleepOnce(alarm, executor, 500, woke_us));
  co_await executor.Sleep(delay_us);
  alarm.Ring();
  alarm.Ring();
  co_await group.Join();
}

TEST(Alarm, RingCutsTheSleepShortOnce) {
  SimExecutor executor(1);
  Alarm alarm(executor);
  uint64_t woke_us = 0;
  RunSync(executor, RingAfter(alarm, executor, 20, woke_us));
  EXPECT_EQ(woke_us, 20u);
}

TEST(Alarm, RingWithTheTimerAlreadyDueResumesOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimExecutor executor(seed);
    Alarm alarm(executor);
    uint64_t woke_us = 0;
    RunSync(executor, RingAfter(alarm, executor, 500, woke_us));
    EXPECT_EQ(woke_us, 500u);
  }
}

TEST(Alarm, RingTakesTheTimerOutOfTheRingExecutor) {
  Result<std::unique_ptr<UringExecutor>> executor = UringExecutor::Create();
  ASSERT_TRUE(executor) << executor.error().message();
  UringExecutor& loop = **executor;
  Alarm alarm(loop);
  TaskGroup group(loop);
  uint64_t woke_us = 0;
  group.Add(SleepOnce(alarm, loop, 3'600'000'000, woke_us));
  alarm.Ring();
  RunSync(loop, group.Join());
  EXPECT_LT(woke_us, 1'000'000u);
  EXPECT_FALSE(loop.RunOnce(/*may_wait=*/false));
}

}  // namespace
}  // namespace base
