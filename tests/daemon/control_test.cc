#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/base/uring_executor.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/control_server.h"
#include "fs/daemon/json.h"

namespace stratad {
namespace {

TEST(ControlJson, MembersOfTheWrongTypeAreNothing) {
  const base::Result<Json> json = ParseJson(R"({"text": "a", "number": 5, "flag": true})");
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(StringOf(*json, "text"), "a");
  EXPECT_EQ(StringOf(*json, "number"), std::nullopt);
  EXPECT_EQ(NumberOf(*json, "number"), 5u);
  EXPECT_EQ(NumberOf(*json, "missing"), std::nullopt);
  EXPECT_TRUE(FlagOf(*json, "flag"));
  EXPECT_FALSE(FlagOf(*json, "text"));
  EXPECT_EQ(StringOf(Json::array(), "text"), std::nullopt);
}

TEST(ControlJson, WhatIsNotJsonIsAnError) {
  for (const char* text : {"", "{", "{\"a\":}", "nonsense", "\xff"}) {
    EXPECT_FALSE(ParseJson(text).has_value()) << text;
  }
}

TEST(ControlJson, TextThatIsNotUtf8CanBePrinted) {
  Json json = Json::object();
  json["label"] = "\xff\xfe";
  EXPECT_NE(ToLine(json).find("label"), std::string::npos);
}

// Answers "echo" with what it got, "work" after a hundred steps, everything else with an error.
class EchoHandler final : public ControlHandler {
 public:
  explicit EchoHandler(base::UringExecutor& executor) : executor_(executor) {}

  base::Task<base::Result<Json>> Handle(Json& request, disklib::Progress& caller) override {
    co_await executor_.Sleep(1000);
    if (StringOf(request, "command") == "work") {
      const base::Status worked = co_await Work(caller);
      if (!worked) co_return worked.error();
      co_return Json::object();
    }
    if (StringOf(request, "command") != "echo") {
      co_return base::Error(base::Code::kBusy, "in use by nobody");
    }
    Json answer = Json::object();
    answer["echo"] = StringOf(request, "text").value_or("");
    co_return answer;
  }

 private:
  base::Task<base::Status> Work(disklib::Progress& caller) {
    for (uint64_t step = 1; step <= 100; ++step) {
      co_await executor_.Sleep(1000);
      if (!caller.Advance(step, 100)) co_return base::Code::kInterrupted;
    }
    co_return base::Ok();
  }

  base::UringExecutor& executor_;
};

// Remembers how far the work was, and stops it at a step.
class Watcher final : public disklib::Progress {
 public:
  explicit Watcher(uint64_t stop_at) : stop_at_(stop_at) {}

  bool Advance(uint64_t done, uint64_t total) override {
    EXPECT_EQ(total, 100u);
    EXPECT_GE(done, last_);
    last_ = done;
    return done < stop_at_;
  }

  uint64_t last() const { return last_; }

 private:
  const uint64_t stop_at_;
  uint64_t last_ = 0;
};

// A server on its executor in this thread, and a client in another one.
class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    socket_path_ = "/tmp/strata-control-test." + std::to_string(getpid()) + ".sock";
    base::Result<std::unique_ptr<ControlServer>> server =
        ControlServer::Create(*executor_, socket_path_, handler_);
    ASSERT_TRUE(server.has_value()) << server.error().message();
    server_ = std::move(*server);
    server_->Start();
  }

  // Serves until the client's thread has ended.
  template <typename Client>
  void ServeWhile(Client client) {
    std::atomic<bool> ended = false;
    std::thread thread([&] {
      client();
      ended = true;
    });
    while (!ended) executor_->RunOnce(/*may_wait=*/false);
    thread.join();
    base::RunSync(*executor_, server_->Stop());
    EXPECT_NE(access(socket_path_.c_str(), F_OK), 0);
  }

  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  EchoHandler handler_{*executor_};
  std::string socket_path_;
  std::unique_ptr<ControlServer> server_;
};

Json EchoRequest(const std::string& text) {
  Json request = Json::object();
  request["command"] = "echo";
  request["text"] = text;
  return request;
}

TEST_F(ControlServerTest, AnswersRequestsInOrder) {
  ServeWhile([this] {
    base::Result<ControlClient> client = ControlClient::Connect(socket_path_);
    ASSERT_TRUE(client.has_value());
    for (int i = 0; i < 5; ++i) {
      const base::Result<Json> answer = client->Ask(EchoRequest(std::to_string(i)));
      ASSERT_TRUE(answer.has_value()) << answer.error().message();
      EXPECT_EQ(StringOf(*answer, "echo"), std::to_string(i));
    }
  });
}

TEST_F(ControlServerTest, TellsHowFarLongWorkIs) {
  ServeWhile([this] {
    base::Result<ControlClient> client = ControlClient::Connect(socket_path_);
    ASSERT_TRUE(client.has_value());
    Json request = Json::object();
    request["command"] = "work";
    Watcher watcher(1000);
    EXPECT_TRUE(client->Ask(request, &watcher).has_value());
    EXPECT_EQ(watcher.last(), 100u);
    EXPECT_TRUE(client->Ask(request).has_value()) << "without anybody who wants to know";
  });
}

TEST_F(ControlServerTest, StopsWorkWhoseCallerHangsUp) {
  ServeWhile([this] {
    base::Result<ControlClient> client = ControlClient::Connect(socket_path_);
    ASSERT_TRUE(client.has_value());
    Json request = Json::object();
    request["command"] = "work";
    Watcher watcher(10);
    const base::Result<Json> answer = client->Ask(request, &watcher);
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code(), base::Code::kInterrupted);
    EXPECT_LT(watcher.last(), 100u);
  });
}

TEST_F(ControlServerTest, HandsErrorsToTheClient) {
  ServeWhile([this] {
    base::Result<ControlClient> client = ControlClient::Connect(socket_path_);
    ASSERT_TRUE(client.has_value());
    const base::Result<Json> answer = client->Ask(Json::object());
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code(), base::Code::kBusy);
    EXPECT_EQ(answer.error().message(), "in use by nobody");
  });
}

TEST_F(ControlServerTest, SurvivesNonsenseAndClientsThatLeave) {
  ServeWhile([this] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path_.c_str(), sizeof(address.sun_path) - 1);
    const int left = socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(connect(left, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(write(left, "nonsense\n{\"comm", 15), 15);
    close(left);
    base::Result<ControlClient> client = ControlClient::Connect(socket_path_);
    ASSERT_TRUE(client.has_value());
    EXPECT_TRUE(client->Ask(EchoRequest("still there")).has_value());
  });
}

TEST_F(ControlServerTest, IsOneAtASocket) {
  const auto second = ControlServer::Create(*executor_, socket_path_, handler_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), base::Code::kBusy);
  ServeWhile([] {});
}

// The socket of a killed daemon answers until the process is gone.
TEST_F(ControlServerTest, TakesOverFromAProcessThatEnds) {
  const std::string path = socket_path_ + ".killed";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int held_open = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(held_open, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const pid_t killed = fork();
  if (killed == 0) {
    listen(held_open, 4);
    _exit(0);
  }
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(killed), &ended, WEXITED | WNOWAIT), 0);
  const auto server = ControlServer::Create(*executor_, path, handler_);
  EXPECT_TRUE(server.has_value()) << server.error().message();
  EXPECT_EQ(waitpid(killed, nullptr, 0), killed);
  close(held_open);
  unlink(path.c_str());
  ServeWhile([] {});
}

TEST(ControlClientTest, FindsNobodyWhereNobodyListens) {
  const base::Result<ControlClient> client = ControlClient::Connect("/tmp/strata-no-such.sock");
  ASSERT_FALSE(client.has_value());
  EXPECT_EQ(client.error().code(), base::Code::kNotFound);
}

}  // namespace
}  // namespace stratad
