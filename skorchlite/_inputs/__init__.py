"""What a user passes: conversion, validation, and each format that rows may come in."""
