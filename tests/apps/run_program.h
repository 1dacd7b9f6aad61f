#pragma once
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
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
  /// The last line on stderr is an error, and the only one; nothing on stdout.
  bool ends_in_one_error() const {
    const std::string lines = "\n" + err;
    const size_t at = lines.find("\nvitrine: ");
    return out.empty() && at != std::string::npos && lines.find('\n', at + 1) == lines.size() - 1;
  }
};

/// The path of the program `vitrine` of this build, which lies beside the tests.
inline std::string program() { return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "vitrine"; }

/// How a run of a program differs from the usual one.
struct RunOptions {
  std::string out = {};                 ///< the file that stdout goes to, in place of Finished::out
  std::function<void()> in_child = {};  ///< called between fork and exec
};

/// Starts a program, without a shell.
inline pid_t start_file(const std::string& file, std::vector<std::string> arguments, const std::string& out,
                        const std::string& err, const std::function<void()>& in_child = {}) {
  arguments.insert(arguments.begin(), file);
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  check<Error>(child >= 0, "cannot start {}", argv[0]);
  if (child > 0) return child;
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
  dup2(open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
  if (in_child) in_child();
  execv(argv[0], argv.data());
  _exit(127);
}

/// Waits for the program. Returns its exit status, 128 + signal if one killed it.
inline int wait_program(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Runs a program and waits for it.
inline Finished run_file(const std::string& file, const std::vector<std::string>& arguments,
                         const RunOptions& options = {}) {
  const ScratchFolder folder("run");
  const std::string out = options.out.empty() ? folder.file("out") : options.out;
  const int status = wait_program(start_file(file, arguments, out, folder.file("err"), options.in_child));
  return {status, folder.read("out"), folder.read("err")};
}

/// Runs the program `vitrine` of this build.
inline Finished run_program(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  return run_file(program(), arguments, options);
}

}  // namespace vitrine::testing
