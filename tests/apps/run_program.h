#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"

namespace vitrine::testing {

/// A folder of its own, removed with everything in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("vitrine_" + name + "_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  /// Names of the files in it, sorted.
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path path_;
};

/// What a run of the program left.
struct Finished {
  int status;  ///< exit status; 128 + signal if one killed it
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out); }
  /// One line on stderr, nothing on stdout.
  bool is_one_error() const {
    return out.empty() && err.starts_with("vitrine: ") && std::count(err.begin(), err.end(), '\n') == 1 &&
           err.back() == '\n';
  }
};

/// The path of the program `vitrine` of this build, which lies beside the tests.
inline std::string program() { return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "vitrine"; }

/// Runs a program, without a shell, and waits for it.
inline Finished run_file(const std::string& file, std::vector<std::string> arguments) {
  const ScratchFolder folder("run");
  arguments.insert(arguments.begin(), file);
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const std::string out = folder.file("out"), err = folder.file("err");
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t child = 0;
  const int failed = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  check<Error>(failed == 0, "cannot start {}", argv[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), folder.read("out"), folder.read("err")};
}

/// Runs the program `vitrine` of this build.
inline Finished run_program(std::vector<std::string> arguments) { return run_file(program(), std::move(arguments)); }

}  // namespace vitrine::testing
