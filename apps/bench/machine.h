#pragma once
#include <functional>
#include <string>

namespace vitrine::apps {

/// "AMD EPYC 9R14, 2 of 2 threads": the processor and what this run uses of it.
std::string machine_text(int threads);

/// The share of the machine that other processes kept busy over `ms` milliseconds, 0 to 1.
double foreign_load(int ms);

/// Waits until foreign_load is below a tenth, at most `seconds`. @return the load last seen
double wait_for_idle(int seconds);

/// By how many bytes this process grows at most while `work` runs, after free memory of the C library was given back to
/// the system. NaN where the system does not tell.
double peak_growth(const std::function<void()>& work);

}  // namespace vitrine::apps
