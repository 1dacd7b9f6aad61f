#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace vitrine::testing {

/// What a child process that calls f() writes to standard error until its sanitizer stops it; empty if it is not
/// stopped.
template <class F>
std::string report_of(F f) {
  int ends[2];
  if (pipe(ends) != 0) return "";
  const pid_t child = fork();
  if (child == 0) {
    if (dup2(ends[1], STDERR_FILENO) < 0) _exit(0);
    try {
      f();
    } catch (...) {
    }
    _exit(0);
  }
  close(ends[1]);
  std::string report;
  char text[4096];
  for (ssize_t n; (n = read(ends[0], text, sizeof text)) > 0;) report.append(text, size_t(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : report;
}

}  // namespace vitrine::testing
