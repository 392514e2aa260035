#include "fs/base/task.h"

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "fs/base/sync.h"

namespace base {
namespace {

Task<int> Immediate(int value) { co_return value; }

Task<int> SumOf(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    const int one = co_await Immediate(1);
    sum += one;
  }
  co_return sum;
}

TEST(Task, AMillionFinishedAwaitsDoNotGrowTheStack) {
  SimExecutor executor(1);
  EXPECT_EQ(RunSync(executor, SumOf(1'000'000)), 1'000'000);
}

Task<int> SleepThen(Executor& executor, uint64_t us, int value) {
  co_await executor.Sleep(us);
  co_return value;
}

Task<int> Twice(Executor& executor) {
  const int a = co_await SleepThen(executor, 10, 1);
  const int b = co_await SleepThen(executor, 10, 2);
  co_return a + b;
}

TEST(Task, ResumesItsParentAfterARealWait) {
  SimExecutor executor(1);
  const uint64_t start_us = executor.NowMicroseconds();
  EXPECT_EQ(RunSync(executor, Twice(executor)), 3);
  EXPECT_EQ(executor.NowMicroseconds() - start_us, 20u);
}

Task<void> Work(Executor& executor, AsyncSharedLock& lock, bool exclusive, int& inside, int& peak) {
  for (int i = 0; i < 20; ++i) {
    if (exclusive) {
      co_await lock.AcquireExclusive();
      ExclusiveGuard guard(lock);
      CHECK(inside == 0);
      inside += 100;
      co_await executor.Sleep(3);
      inside -= 100;
    } else {
      co_await lock.AcquireShared();
      SharedGuard guard(lock);
      CHECK(inside < 100);
      ++inside;
      peak = std::max(peak, inside);
      co_await executor.Sleep(5);
      --inside;
    }
  }
}

Task<void> ManyWorkers(Executor& executor, int& peak) {
  AsyncSharedLock lock(executor);
  int inside = 0;
  TaskGroup group(executor);
  for (int i = 0; i < 8; ++i) group.Add(Work(executor, lock, i % 4 == 0, inside, peak));
  co_await group.Join();
  CHECK(inside == 0);
}

TEST(AsyncSharedLock, WritersAreAloneAndReadersShare) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimExecutor executor(seed);
    int peak = 0;
    RunSync(executor, ManyWorkers(executor, peak));
    EXPECT_GT(peak, 1);
  }
}

}  // namespace
}  // namespace base
