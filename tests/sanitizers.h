// Which sanitizer this is built with: HAWSER_ASAN, HAWSER_TSAN, 0 or 1.
// Knows: what compilers define.  Never: a reason to skip a test that could run.
#pragma once

#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define HAWSER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define HAWSER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)  // g++
#define HAWSER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define HAWSER_TSAN 1
#endif

#ifndef HAWSER_ASAN
#define HAWSER_ASAN 0
#endif
#ifndef HAWSER_TSAN
#define HAWSER_TSAN 0
#endif
